"""What is measured: each file gives cases, by name, that measure once and return readings."""
