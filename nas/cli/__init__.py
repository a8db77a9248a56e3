"""The command line: ``python -m nas``."""
