"""What all networks reached, from the logs of their training and evaluation, beside what was published."""
