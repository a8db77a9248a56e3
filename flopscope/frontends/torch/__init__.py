"""PyTorch models to graphs."""
