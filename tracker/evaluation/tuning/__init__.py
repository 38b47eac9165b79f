"""Hyper-parameter search for tracking settings on a validation split."""
