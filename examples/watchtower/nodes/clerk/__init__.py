"""Clerk node for watchtower."""
