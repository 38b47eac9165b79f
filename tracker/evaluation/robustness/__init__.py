"""Disturbed clips: how honest the score is, and how it is calibrated."""
