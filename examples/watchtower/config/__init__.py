"""The settings of watchtower."""
