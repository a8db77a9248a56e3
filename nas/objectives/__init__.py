"""How a cost enters the loss of a search."""
