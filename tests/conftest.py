"""Settings of the test session: float64, strict promotion; both are undone by nothing, so tests stay comparable."""

import jax

jax.config.update("jax_enable_x64", True)
# An accidental [n] + [n, 1] or float32 + float64 is a bug in library code.
jax.config.update("jax_numpy_rank_promotion", "raise")
