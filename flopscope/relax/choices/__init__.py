"""Choices: the cost of a supernet as a function of the probabilities of its candidates."""
