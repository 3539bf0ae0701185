r"""Formulas of nguyen2023, printed beside corrected: how a step of Adam changes with the task weights.

With J the per-task gradients [D, M], g = J u, and m, v the memory after the step,

    x^+ = x - alpha m^ / den,    den = sqrt(v^ + epsilon),    m^ = m / (1 - beta_1^t),    v^ = v / (1 - beta_2^t),

which is (98). With the memory before the step held constant, dm = (1 - beta_1) J du and dv = 2 (1 - beta_2) g (J du),
entry by entry, and from den^2 = v^ + epsilon follows d den = dv^ / (2 den).
"""

from typing import Literal

import jax.numpy as jnp
from jax import Array


def adam_action_jacobian(
    rows: Array,
    weights: Array,
    first_moment: Array,
    second_moment: Array,
    count: int | Array,
    *,
    learning_rate: float,
    epsilon: float,
    form: Literal["corrected", "printed", "outside"] = "corrected",
    b1: float = 0.9,
    b2: float = 0.999,
) -> Array:
    r"""F_u = dx_{t+1} / du_t of Adam, the memory before the step held constant, [D, M].

    Arguments:
        rows: per-task gradients J, [D, M].
        weights: u, [M].
        first_moment, second_moment: m and v before the step, [D].
        count: number t of the step, from 1.
        learning_rate, epsilon, b1, b2: of Adam; epsilon under the root, as in (97).
        form: ``"printed"`` takes the derivative of the denominator as (102) does, as if epsilon were added to the root:
            wrong unless epsilon is negligible, and NaN where v is zero. ``"outside"`` adds epsilon to the root
            throughout, which makes (102) exact; it is NaN at v = 0, too.

    Returns:
        The Jacobian, [D, M]; finite for epsilon > 0 in its corrected form.

    >>> rows, zero = jnp.array([[1.0, 2.0]]), jnp.zeros(1)
    >>> F = adam_action_jacobian(rows, jnp.array([0.5, 0.5]), zero, zero, 1, learning_rate=1.0, epsilon=1.0)
    >>> print([round(float(entry), 4) for entry in F[0]])
    [-0.1707, -0.3414]

    Source: nguyen2023, (99b) to (102); docs/errata.md, N4.
    """
    if form not in ("corrected", "printed", "outside"):
        raise ValueError(
            f'adam_action_jacobian: argument form must be "corrected", "printed" or "outside", got {form!r}.'
        )
    gradient = rows @ weights
    correction1, correction2 = 1 - b1**count, 1 - b2**count
    m = (b1 * first_moment + (1 - b1) * gradient) / correction1
    v = (b2 * second_moment + (1 - b2) * gradient**2) / correction2
    root = jnp.sqrt(v) + epsilon if form == "outside" else jnp.sqrt(v + epsilon)
    dm = (1 - b1) / correction1 * rows
    dv = 2 * (1 - b2) / correction2 * gradient[:, None] * rows
    inner = root if form == "corrected" else jnp.sqrt(v)
    droot = dv / (2 * inner[:, None])
    return -learning_rate * (dm / root[:, None] - (m / root**2)[:, None] * droot)
