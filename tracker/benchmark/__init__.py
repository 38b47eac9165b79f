"""Measurements of speed; they return numbers and print nothing."""
