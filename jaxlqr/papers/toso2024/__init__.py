"""Toso et al., "Meta-learning linear quadratic regulators" (2024): theory, experiments, the commands on it."""
