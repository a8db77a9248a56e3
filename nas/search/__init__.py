"""How architecture parameters move."""
