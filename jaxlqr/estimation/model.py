"""A linear Gaussian model and its data, checked and brought to one dtype, and where the state starts.

The start has columns: the first is the mean of x[0], the others are the directions of diffuse states. A state with a
diffuse start has a flat prior. Its coefficient is an unknown number: the filter carries one more column of means for
it, and the number is eliminated where the data are known (de Jong, 1991). Nothing in this depends on a large number
that stands for infinity.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from jaxlqr.core.checks import as_floating, as_matrices, with_dtype
from jaxlqr.core.products import hermitian
from jaxlqr.matrix_equations import stable_discrete_lyapunov

# Shapes of the matrices of a model, without a leading axis of time.
_LETTERS = {"A": "nn", "C": "pn", "Q": "nn", "R": "pp", "B": "nm", "D": "pm"}
Diffuse = bool | Sequence[bool]
Names = str | Sequence[str]


class Model(NamedTuple):
    """Matrices of the model, those in ``Static.time_varying`` with a leading axis of time."""

    A: Array
    C: Array
    Q: Array
    R: Array
    B: Array  # [n, m], m = 0 without inputs
    D: Array


class Data(NamedTuple):
    """Measurements y [T, p], NaN where missing, and inputs u [T, m]."""

    y: Array
    u: Array


class Static(NamedTuple):
    """What a compiled program is made for."""

    diffuse: tuple[int, ...]  # numbers of the states with a flat prior
    time_varying: tuple[str, ...]


class Start(NamedTuple):
    """Means [n, 1 + d] and covariance [n, n] of x[0]."""

    columns: Array
    covariance: Array


def check_model(
    function: str,
    matrices: dict[str, ArrayLike | None],
    y: ArrayLike,
    u: ArrayLike | None,
    x0: ArrayLike | None,
    P0: ArrayLike | None,
    diffuse: Diffuse,
    time_varying: Names,
    num_ahead: int = 0,
) -> tuple[Model, Data, tuple[Array | None, Array | None], Static]:
    """The arguments as arrays of one real dtype, with the sizes that belong together, and what is static."""
    names = (time_varying,) if isinstance(time_varying, str) else tuple(time_varying)
    for name in names:
        if name not in _LETTERS or matrices.get(name) is None:
            raise ValueError(
                f"{function}: argument time_varying must name matrices of A, C, Q, R, B, D that are given, got "
                f'{name!r}; for example time_varying=("C",).'
            )
    given = {"y": y, "u": u, **matrices, "x0": x0, "P0": P0}
    arrays = {name: as_floating(value, name, function) for name, value in given.items() if value is not None}
    _check_axes(function, arrays, names)
    flat = {name: array[0] if name in names else array for name, array in arrays.items()}
    if x0 is not None:
        flat["x0"] = flat["x0"][:, None]
    dtype = as_matrices(function, **flat)[0].dtype
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"{function}: all arguments must be real, got {dtype}; stack real and imaginary parts.")
    arrays: dict[str, Any] = {name: with_dtype(array, dtype) for name, array in arrays.items()}
    num_steps, n, p = len(arrays["y"]), len(flat["A"]), len(flat["C"])
    m = arrays["u"].shape[1] if "u" in arrays else 0
    for name, size in (("B", n), ("D", p)):
        arrays.setdefault(name, np.zeros((size, m), dtype))  # NumPy's: no kernel for each call
    arrays.setdefault("u", np.zeros((num_steps + num_ahead, m), dtype))
    steps = num_steps + num_ahead
    sizes = {"n": n, "p": p, "m": m}
    shapes = {name: tuple(sizes[letter] for letter in letters) for name, letters in _LETTERS.items()}
    shapes = {name: (steps, *shape) if name in names else shape for name, shape in shapes.items()}
    shapes |= {"y": (num_steps, p), "u": (steps, m), "x0": (n,), "P0": (n, n)}
    for name, shape in shapes.items():
        array = arrays.get(name)
        if array is not None and array.shape != shape:
            raise ValueError(
                f"{function}: argument {name} must have shape {shape}, got {array.shape}; A is [n, n], C [p, n], "
                f"y [T, p], u [T, m], and a matrix named in time_varying has a leading axis of length {steps}."
            )
    static = Static(_diffuse_states(function, diffuse, n), names)
    if P0 is None and len(static.diffuse) not in (0, n):
        raise ValueError(
            f"{function}: argument P0 must be given where only some states are diffuse, got None; pass the covariance "
            "of the others, with any value for the diffuse ones."
        )
    if P0 is None and not static.diffuse and {"A", "Q"} & set(names):
        raise ValueError(
            f"{function}: argument P0 must be given where A or Q varies with time, got None; pass P0 or diffuse=True, "
            "since a stationary covariance does not exist."
        )
    model = Model(*(arrays[name] for name in Model._fields))
    return model, Data(arrays["y"], arrays["u"]), (arrays.get("x0"), arrays.get("P0")), static


def _check_axes(function: str, arrays: dict[str, Array], time_varying: tuple[str, ...]) -> None:
    for name, array in arrays.items():
        axes = 1 if name == "x0" else 3 if name in time_varying else 2
        if array.ndim != axes:
            remedy = 'y is [T, p]; use jax.vmap for a batch, and time_varying=("C",) for matrices that vary with time.'
            raise ValueError(f"{function}: argument {name} must have {axes} axes, got shape {array.shape}; {remedy}")
    if not len(arrays["y"]):
        shape = arrays["y"].shape
        raise ValueError(f"{function}: argument y must have at least one row, got shape {shape}; pass data.")


def _diffuse_states(function: str, diffuse: Diffuse, n: int) -> tuple[int, ...]:
    mask = np.full(n, diffuse) if isinstance(diffuse, bool | np.bool_) else np.asarray(diffuse)
    if mask.shape != (n,) or mask.dtype != bool:
        raise ValueError(
            f"{function}: argument diffuse must be True, False or {n} of them, one for each state, got {diffuse!r}; it "
            "is static."
        )
    return tuple(int(i) for i in np.flatnonzero(mask))


def start_of(model: Model, x0: Array | None, P0: Array | None, static: Static) -> Start:
    """Means and covariance of x[0]: NaN where it should be stationary and A is not stable."""
    n, num_diffuse = model.A.shape[-1], len(static.diffuse)
    mean = jnp.zeros((n,), model.A.dtype) if x0 is None else x0
    directions = jnp.eye(n, dtype=model.A.dtype)[:, jnp.asarray(static.diffuse, int)]
    columns = jnp.concatenate([mean[:, None], directions], axis=1)
    if not num_diffuse:
        covariance = stable_discrete_lyapunov(model.A, hermitian(model.Q))[0] if P0 is None else hermitian(P0)
        return Start(columns, covariance)
    # Any covariance beside a flat prior leaves it flat. That of one step of noise keeps the first innovation covariance
    # regular where R is zero.
    noise = lax.stop_gradient(hermitian(model.Q[0] if "Q" in static.time_varying else model.Q))
    flat = jnp.sum(directions, axis=1)
    both, neither = flat[:, None] * flat[None, :], (1 - flat)[:, None] * (1 - flat)[None, :]
    given = jnp.zeros_like(noise) if P0 is None else jnp.where(neither > 0, hermitian(P0), 0)
    return Start(columns, both * noise + given)


def at_step(model: Model, static: Static, slices: dict[str, Any]) -> Model:
    """The matrices of one step."""
    return model._replace(**{name: slices[name] for name in static.time_varying})


def varying(model: Model, static: Static) -> dict[str, Array]:
    """The matrices with a leading axis of time, for a scan."""
    return {name: getattr(model, name) for name in static.time_varying}
