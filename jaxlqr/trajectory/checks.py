"""Static checks of the arguments of iLQR."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlqr.core.checks import refuse_half
from jaxlqr.core.types import PyTree


def check_arguments(cost: Any, dynamics: Any, x0: Any, U0: Any, params: Any, final_cost: Any) -> None:
    """Raise unless shapes, structures and dtypes fit; traces the functions once and runs nothing."""
    for name, tree in {"x0": x0, "U0": U0}.items():
        dtypes = {jnp.result_type(leaf) for leaf in jax.tree.leaves(tree)}
        if len(dtypes) != 1 or not jnp.issubdtype(next(iter(dtypes)), jnp.floating):
            raise TypeError(
                f"ilqr: argument {name} must hold floating arrays of one dtype, got {sorted(map(str, dtypes))}; "
                "convert them with x.astype(float)."
            )
    refuse_half("ilqr", x0=x0, U0=U0)
    lengths = {np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in jax.tree.leaves(U0)}
    if len(lengths) != 1 or None in lengths or 0 in lengths:
        raise ValueError(
            f"ilqr: argument U0 must have one leading time axis of T >= 1 steps on every leaf, got leading sizes "
            f"{sorted(map(str, lengths))}; pass shape [T, m], with T = 1 for a single step."
        )
    state = jax.eval_shape(lambda x: x, x0)
    control = jax.eval_shape(lambda U: jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], U), U0)
    time = jax.ShapeDtypeStruct((), jnp.int32)
    after = jax.eval_shape(dynamics, state, control, time, params)
    if _shapes(after) != _shapes(state):
        raise ValueError(
            f"ilqr: argument dynamics must return a state like x0, {_described(state)}, got {_described(after)}; "
            "return every component of the next state, in the structure, shapes and dtype of x0."
        )
    outputs = {"cost": jax.eval_shape(cost, state, control, time, params)}
    if final_cost is not None:
        outputs["final_cost"] = jax.eval_shape(final_cost, state, params)
    for name, value in outputs.items():
        if getattr(value, "shape", None) != () or not jnp.issubdtype(value.dtype, jnp.floating):
            raise ValueError(
                f"ilqr: argument {name} must return a floating scalar, got {_described(value)}; sum over the entries, "
                "or index the only one."
            )


def _shapes(tree: PyTree):
    return jax.tree.structure(tree), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]


def _described(tree: PyTree) -> str:
    return str(jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree))
