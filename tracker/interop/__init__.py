"""Conversion of tracks to and from other libraries: supervision, pandas, MOT metrics, and detections as start boxes."""
