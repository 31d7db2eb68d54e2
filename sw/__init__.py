"""Software of ARCHON: networks, training, quantisation, golden model and tools."""
