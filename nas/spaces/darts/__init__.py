"""The cell space of DARTS (Liu et al. 2019, arXiv:1806.09055)."""
