"""The data layer: what the hive knows about itself, kept in Redis."""
