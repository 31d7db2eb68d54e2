"""A network on one page of HTML: accuracy, sparsity, survivors, predictions and multiplications. Knows nothing of Keras."""
