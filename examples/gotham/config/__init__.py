"""The settings of gotham."""
