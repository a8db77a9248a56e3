"""Measured times of ops on a machine, kept in a file of SQLite, as a source of latencies."""
