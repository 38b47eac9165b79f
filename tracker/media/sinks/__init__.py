"""Outputs: annotated videos and files of boxes."""
