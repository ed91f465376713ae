"""Alarm node for watchtower."""
