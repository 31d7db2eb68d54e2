"""What the choices of quantisation are worth: accuracy against size of tables and width of adders."""
