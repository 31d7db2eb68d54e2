"""Design space exploration: generator parameters against cycles and area."""
