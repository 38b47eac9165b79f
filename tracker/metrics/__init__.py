"""Metrics of tracking results, and result files; imported by training and evaluation."""
