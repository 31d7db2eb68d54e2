"""Building and running simulations and synthesis, and the reports made from them."""
