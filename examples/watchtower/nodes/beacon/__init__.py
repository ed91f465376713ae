"""Beacon node for watchtower."""
