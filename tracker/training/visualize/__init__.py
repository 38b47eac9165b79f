"""Images of training data and of a model's output for it."""
