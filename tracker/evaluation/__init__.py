"""Evaluation runs on data sets, and reports."""
