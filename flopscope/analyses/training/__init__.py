"""What a training step costs: its phases, its memory, the optimizer, and shares of many devices."""
