"""The command lines behind `tools/` and the console script `siamtrack`."""
