"""Random networks through everything, from description to logits on the RTL, for as long as one likes."""
