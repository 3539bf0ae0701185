"""Molybog and Lavaei, "Global convergence of MAML for LQR" (2021): experiments."""
