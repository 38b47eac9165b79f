"""Measures of tracking results, and the files that hold these: below training and evaluation."""
