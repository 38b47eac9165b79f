"""The version of the package; nothing else defines it."""

__version__ = "0.1.0"
