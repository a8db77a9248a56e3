"""Analyses: short walks over a graph. None knows a front end."""
