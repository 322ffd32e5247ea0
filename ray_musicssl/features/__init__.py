"""Target features: waveform -> frames that k-means clusters. One file each, listed in the registry below."""
