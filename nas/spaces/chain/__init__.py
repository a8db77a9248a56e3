"""Chains of blocks: each slot is a choice between inverted bottlenecks, and the next takes what it makes."""
