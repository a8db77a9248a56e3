"""The version of the installed distribution."""

__version__ = "0.1.0"
