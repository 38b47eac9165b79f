"""Disturbed clips: how reliable the score is, and how it is calibrated."""
