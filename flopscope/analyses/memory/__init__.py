"""How much memory a graph takes while it runs: what is alive when, and what a planner could make of it."""
