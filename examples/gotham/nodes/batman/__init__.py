"""Batman node for gotham."""
