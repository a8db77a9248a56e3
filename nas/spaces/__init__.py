"""What can be chosen: spaces of networks."""
