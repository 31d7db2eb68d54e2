"""Keras models of the networks."""
