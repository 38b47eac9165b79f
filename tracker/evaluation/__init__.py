"""Evaluation runs on data sets, and reports. Imported by the commands only."""
