"""A model as files for other runtimes, in float and int8."""
