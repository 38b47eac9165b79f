"""Training: pairs, losses, mining, optimisation and the training loop."""
