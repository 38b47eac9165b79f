"""Disturbed clips: reliability of the score, and its calibration."""
