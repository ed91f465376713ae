"""What the nodes share: no node itself."""
