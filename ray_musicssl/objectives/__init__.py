"""What the encoder is trained for. One file each, listed in the registry below."""
