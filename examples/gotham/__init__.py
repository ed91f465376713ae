"""The hive gotham."""
