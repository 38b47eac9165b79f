"""Measurements of speed; they return plain numbers and print nothing."""
