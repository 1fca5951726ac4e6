"""The version, which the build reads from this file."""

__version__ = "1.0.0"
