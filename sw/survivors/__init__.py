"""How few activations may survive: accuracy against survivors against cycles, for networks trained with several limits."""
