"""Usual node for watchtower."""
