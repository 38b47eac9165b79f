"""The compute behind the tracker: one small protocol, one file for each engine."""
