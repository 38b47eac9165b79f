"""Data sets, metrics, runs and reports. Nothing imports it."""
