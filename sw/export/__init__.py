"""From trained or random weights to a bundle."""
