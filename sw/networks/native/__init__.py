"""A CPU kernel for training wide blocks: their expanded tensors are never stored."""
