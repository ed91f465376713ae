"""Register node for watchtower."""
