"""Tracks as other libraries have them, and theirs as ours: supervision, pandas, MOT metrics, detections to start
from."""
