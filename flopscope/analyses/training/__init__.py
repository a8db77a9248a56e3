"""What training takes: the state of optimizers, the memory of their steps, and what devices share of both."""
