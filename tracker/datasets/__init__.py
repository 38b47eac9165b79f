"""Data sets: one reader for each layout, below training and evaluation."""
