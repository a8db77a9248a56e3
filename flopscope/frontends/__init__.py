"""Front ends: a model to a graph."""
