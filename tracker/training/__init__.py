"""Pairs, losses, mining, optimisation and the training loop. Nothing imports it."""
