"""Measurements from tracks: paths, speeds, sizes, time in zones; smoothed boxes."""

from tracker.measure.report import write_report
from tracker.measure.smooth import FixedLag, jitter, smooth
from tracker.measure.zones import Zone, read_zones, time_in_zones

__all__ = ["FixedLag", "Zone", "jitter", "read_zones", "smooth", "time_in_zones", "write_report"]
