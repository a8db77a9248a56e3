"""Closed forms: the cost of a model as a formula in batch, resolution and sequence length."""
