"""How architecture parameters become the weights of operations."""
