"""Searching for networks within a budget, and the hand-made networks to compare with."""
