"""Gauges node for watchtower."""
