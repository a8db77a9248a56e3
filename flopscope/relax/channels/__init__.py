"""Channels: the cost of a network as a function of its widths."""
