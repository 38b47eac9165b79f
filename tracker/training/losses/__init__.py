"""Losses, the labels that they compare with, and distillation from a teacher."""
