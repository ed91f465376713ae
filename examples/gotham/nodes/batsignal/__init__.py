"""BatSignal node for gotham."""
