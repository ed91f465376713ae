"""The hive watchtower."""
