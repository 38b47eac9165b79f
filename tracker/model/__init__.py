"""The networks: backbones, energies, heads and the matcher that joins them. Knows nothing of video."""
