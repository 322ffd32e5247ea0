"""The encoder and its mask."""
