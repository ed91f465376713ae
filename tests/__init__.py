"""Requirements in words, on real servers."""
