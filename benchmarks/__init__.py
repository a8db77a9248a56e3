"""Measurements of flopscope next to the tools that people use today."""
