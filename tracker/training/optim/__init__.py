"""Optimisers, schedules, averaged weights, frozen layers."""
