"""Export of a model to files for other runtimes, in float and int8."""
