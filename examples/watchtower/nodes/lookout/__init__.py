"""Lookout node for watchtower."""
