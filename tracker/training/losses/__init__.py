"""Losses, labels, and distillation."""
