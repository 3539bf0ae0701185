"""Systems in series, in parallel, side by side and in loops, as pure functions of their matrices."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxlqr.core.checks import MatrixLike, refuse_masked
from jaxlqr.core.products import matmul
from jaxlqr.matrix_equations.scaling import magnitude
from jaxlqr.systems._solve import checked_solve
from jaxlqr.systems._state_space import SignalNames, StateSpace, check_system

SystemOrGain = StateSpace | MatrixLike
# Sampling times that differ by less are one number, rounded twice: of the larger one, in rounding units.
_SAME = 16


def series(first: SystemOrGain, second: SystemOrGain, *others: SystemOrGain) -> StateSpace:
    r"""The system whose input enters ``first``, whose output enters ``second``, and so on: y = second(first(u)).

    .. math:: A = \begin{bmatrix} A_1 & 0 \\ B_2 C_1 & A_2 \end{bmatrix}, \quad
              B = \begin{bmatrix} B_1 \\ B_2 D_1 \end{bmatrix}, \quad
              C = \begin{bmatrix} D_2 C_1 & C_2 \end{bmatrix}, \quad D = D_2 D_1 .

    Arguments:
        first, second, others: a :class:`StateSpace` each, or a matrix [p, m] for a static gain; at least one is a
            system. The order of the arguments is the same as in python-control.

    Returns:
        :class:`StateSpace` with the states of all parts in this order, the input names of the first and the output
        names of the last one.

    Raises:
        ValueError: if numbers of signals do not fit, for continuous beside discrete time, and for sampling times that
            differ. Inside ``jit``, where sampling times cannot be compared, all entries are NaN instead, and
            :attr:`StateSpace.status` is NO_FINITE_SYSTEM.

    >>> plant = StateSpace(*map(jnp.asarray, ([[-1.0]], [[1.0]], [[1.0]], [[0.0]])))
    >>> series(plant, [[2.0]]).C.tolist()
    [[2.0]]
    """
    total, *rest = _parts("series", first, second, *others)
    for part in rest:
        if total.num_outputs != part.num_inputs:
            raise ValueError(
                f"second must have as many inputs as first has outputs, {total.num_outputs}, got {part.num_inputs}; "
                "check the order: first stands at the input."
            )
        total = _system(_series(*_matrices(total), *_matrices(part)), [total, part], total.inputs, part.outputs)
    return total


def parallel(first: SystemOrGain, second: SystemOrGain, *others: SystemOrGain) -> StateSpace:
    """The system whose input enters all parts and whose output is the sum of theirs.

    Arguments and errors are the same as for :func:`series`. The names of inputs and outputs are kept where all parts
    with names agree.

    >>> plant = StateSpace(*map(jnp.asarray, ([[-1.0]], [[1.0]], [[1.0]], [[0.0]])))
    >>> parallel(plant, plant).C.tolist()
    [[1.0, 1.0]]
    """
    total, *rest = _parts("parallel", first, second, *others)
    for part in rest:
        sizes = [(part.num_outputs, part.num_inputs) for part in (total, part)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"second must have as many outputs and inputs as first, {sizes[0]}, got {sizes[1]}; select the signals."
            )
        inputs, outputs = (_agreed([getattr(part, name) for part in (total, part)]) for name in ("inputs", "outputs"))
        total = _system(_parallel(*_matrices(total), *_matrices(part)), [total, part], inputs, outputs)
    return total


def append(first: SystemOrGain, second: SystemOrGain, *others: SystemOrGain) -> StateSpace:
    """The block-diagonal system of all parts: first the inputs and outputs of the first part, then of the second, and
    so on.

    Arguments and errors are the same as for :func:`series`; parts with any numbers of signals fit.

    >>> plant = StateSpace(*map(jnp.asarray, ([[-1.0]], [[1.0]], [[1.0]], [[0.0]])))
    >>> append(plant, [[2.0]]).D.tolist()
    [[0.0, 0.0], [0.0, 2.0]]
    """
    total, *rest = _parts("append", first, second, *others)
    for part in rest:
        inputs, outputs = (_joined([getattr(part, name) for part in (total, part)]) for name in ("inputs", "outputs"))
        total = _system(_append(*_matrices(total), *_matrices(part)), [total, part], inputs, outputs)
    return total


def feedback(first: SystemOrGain, second: SystemOrGain | None = None, *, sign: int = -1) -> StateSpace:
    r"""The closed loop y = first(u + sign second(y)).

    .. math:: A = \begin{bmatrix} A_1 + \sigma B_1 F D_2 C_1 & \sigma B_1 F C_2 \\
              B_2 G C_1 & A_2 + \sigma B_2 G D_1 C_2 \end{bmatrix}, \quad
              F = (I - \sigma D_2 D_1)^{-1}, \quad G = (I - \sigma D_1 D_2)^{-1} .

    Arguments:
        first: the forward path: a :class:`StateSpace`, or a matrix [p, m] for a static gain.
        second: the return path, with p inputs and m outputs; the identity if it is None. One of the two is a system.
        sign: -1 for negative feedback, 1 for positive feedback.

    Returns:
        :class:`StateSpace` with the states of both, and the names of inputs and outputs of ``first``. Differentiable in
        all matrices, to any order and in both modes.

        If the algebraic loop I - sign D2 D1 is singular to rounding, all entries are NaN,
        :attr:`StateSpace.status` is NO_FINITE_SYSTEM, and :meth:`StateSpace.check` raises. The test is the Skeel
        condition number of the loop against the rounding unit: no units of the signals change it.

    Raises:
        ValueError: as :func:`series`, and if ``sign`` is neither -1 nor 1.

    >>> integrator = StateSpace(*map(jnp.asarray, ([[0.0]], [[1.0]], [[1.0]], [[0.0]])))
    >>> feedback(integrator, [[3.0]]).A.tolist()
    [[-3.0]]

    Source: the signal flow of ``control.feedback``; Higham, Accuracy and Stability of Numerical Algorithms (2002),
    chapter 7, for the condition number.
    """
    if sign not in (-1, 1) or isinstance(sign, bool):
        raise ValueError(f"sign must be -1 or 1, got {sign!r}; scale second for another gain.")
    if second is None:
        size = first.num_outputs if isinstance(first, StateSpace) else np.shape(first)[0]
        second = np.eye(size)
    one, two = _parts("feedback", first, second)
    if (one.num_outputs, one.num_inputs) != (two.num_inputs, two.num_outputs):
        raise ValueError(
            f"second must have {one.num_outputs} inputs and {one.num_inputs} outputs, those of first turned round, got "
            f"{two.num_inputs} and {two.num_outputs}; check its shape."
        )
    return _system(_feedback(*_matrices(one), *_matrices(two), sign), [one, two], one.inputs, one.outputs)


def lft(plant: SystemOrGain, controller: SystemOrGain) -> StateSpace:
    r"""The lower linear fractional transformation: a generalised plant with its controller.

    .. math:: \begin{bmatrix} z \\ y \end{bmatrix} = P \begin{bmatrix} w \\ u \end{bmatrix}, \quad u = K y, \qquad
              F_l(P, K) = P_{11} + P_{12} K (I - P_{22} K)^{-1} P_{21} .

    Arguments:
        plant: the generalised plant, whose last inputs are u and whose last outputs are y. The shape of the controller
            sets their number. The feedback is positive: the sign belongs to the controller.
        controller: the controller, a :class:`StateSpace` or a matrix [number of u, number of y].

    Returns:
        :class:`StateSpace` from w to z with the states of both. NaN where the algebraic loop is singular, as
        :func:`feedback`.

    Raises:
        ValueError: as :func:`series`, and if the controller uses all inputs or outputs of the plant, or more.

    >>> plant = StateSpace(*map(jnp.asarray, ([[0.0]], [[1.0, 1.0]], [[1.0], [1.0]], [[0.0, 0.0], [0.0, 0.0]])))
    >>> lft(plant, [[-3.0]]).A.tolist()
    [[-3.0]]

    Source: Zhou, Doyle, Glover, Robust and Optimal Control (1996), chapter 10.
    """
    one, two = _parts("lft", plant, controller)
    nu, ny = two.num_outputs, two.num_inputs
    if nu >= one.num_inputs or ny >= one.num_outputs:
        raise ValueError(
            f"controller must have fewer outputs and inputs than the plant has inputs and outputs, "
            f"{one.num_inputs} and {one.num_outputs}, got {nu} and {ny}; use feedback to close a loop over all signals."
        )
    inputs = None if one.inputs is None else one.inputs[:-nu]
    outputs = None if one.outputs is None else one.outputs[:-ny]
    return _system(_lft(*_matrices(one), *_matrices(two)), [one, two], inputs, outputs)


def _matrices(system: StateSpace) -> tuple[Array, Array, Array, Array]:
    return system.A, system.B, system.C, system.D


def _parts(function: str, *parts: Any) -> list[StateSpace]:
    """All parts as systems in one time domain and of one precision; matrices become static gains."""
    known = [part for part in parts if isinstance(part, StateSpace)]
    if not known:
        raise ValueError(f"{function} must get at least one StateSpace, got matrices only; make one with systems.ss.")
    for part in known:
        check_system(part)
    if len({part.is_discrete for part in known}) > 1:
        raise ValueError(
            f"{function} must get systems of one time domain, got continuous and discrete ones; sample the continuous "
            "ones with systems.sample(system, dt)."
        )
    dtypes = sorted({str(part.A.dtype) for part in known})
    if len(dtypes) > 1:
        raise TypeError(
            f"{function}: all systems must have the same precision, got {' and '.join(dtypes)}; convert one with "
            "jax.tree.map(lambda leaf: leaf.astype(jnp.float64), system)."
        )
    return [part if isinstance(part, StateSpace) else _gain(part, known[0]) for part in parts]


def _gain(value: Any, like: StateSpace) -> StateSpace:
    refuse_masked(value, "a static gain")
    if not isinstance(value, Tracer | Array):
        try:
            value = np.asarray(value, float)
        except (TypeError, ValueError):
            raise ValueError(
                f"a part must be a StateSpace or a matrix, got {type(value).__name__}; write systems.ss(A, B, C)."
            ) from None
    if value.ndim == 0:
        value = value.reshape(1, 1)
    if value.ndim != 2:
        raise ValueError(
            f"a static gain must be a matrix [p, m], got shape {value.shape}; write x[:, None] for a column."
        )
    p, m = value.shape
    dtype = like.A.dtype
    return StateSpace(
        jnp.zeros((0, 0), dtype), jnp.zeros((0, m), dtype), jnp.zeros((p, 0), dtype), jnp.asarray(value, dtype), like.dt
    )


def _system(
    matrices: Sequence[Array], parts: Sequence[StateSpace], inputs: SignalNames, outputs: SignalNames
) -> StateSpace:
    dt, same = common_time(parts)
    if same is not None:
        matrices = [jnp.where(same, matrix, jnp.nan) for matrix in matrices]
    states = _joined([part.states if part.num_states else () for part in parts])
    a, b, c, d = matrices
    return StateSpace(a, b, c, d, dt, states=states, inputs=inputs, outputs=outputs)


def common_time(parts: Sequence[StateSpace]) -> tuple[Array | None, Array | None]:
    """The common sampling time, and whether both parts have it, for values known only inside ``jit``."""
    first, second = parts[0].dt, parts[1].dt
    if first is None or second is None or first is second:
        return first, None
    apart = jnp.abs(first - second) > _SAME * jnp.finfo(first.dtype).eps * jnp.maximum(first, second)
    if isinstance(apart, Tracer):
        return first, ~apart
    if bool(apart):
        raise ValueError(
            f"all systems must have one sampling time, got {float(first):g} and {float(second):g}; sample the "
            "continuous systems anew, or use dataclasses.replace(system, dt=dt) if the time is the same."
        )
    return first, None


def _joined(names: Sequence[SignalNames]) -> SignalNames:
    """The names of all parts; None where one has none or a name occurs twice."""
    if any(part is None for part in names):
        return None
    joined = tuple(name for part in names if part is not None for name in part)
    return joined if joined and len(set(joined)) == len(joined) else None


def _agreed(names: Sequence[SignalNames]) -> SignalNames:
    known = {part for part in names if part is not None}
    return known.pop() if len(known) == 1 else None


@jax.jit
def _series(a1, b1, c1, d1, a2, b2, c2, d2):
    a = jnp.block([[a1, jnp.zeros((len(a1), len(a2)), a1.dtype)], [matmul(b2, c1), a2]])
    b = jnp.concatenate([b1, matmul(b2, d1)])
    return a, b, jnp.concatenate([matmul(d2, c1), c2], axis=1), matmul(d2, d1)


@jax.jit
def _parallel(a1, b1, c1, d1, a2, b2, c2, d2):
    return _diagonal(a1, a2), jnp.concatenate([b1, b2]), jnp.concatenate([c1, c2], axis=1), d1 + d2


@jax.jit
def _append(a1, b1, c1, d1, a2, b2, c2, d2):
    return _diagonal(a1, a2), _diagonal(b1, b2), _diagonal(c1, c2), _diagonal(d1, d2)


def _diagonal(x: Array, y: Array) -> Array:
    upper = jnp.zeros((x.shape[0], y.shape[1]), x.dtype)
    lower = jnp.zeros((y.shape[0], x.shape[1]), x.dtype)
    return jnp.concatenate([jnp.concatenate([x, upper], axis=1), jnp.concatenate([lower, y], axis=1)])


@jax.jit
def _feedback(a1, b1, c1, d1, a2, b2, c2, d2, sign):
    # The loop of a plant with inputs (u, return) that both enter first, and outputs y twice.
    sign = jnp.asarray(sign, a1.dtype)
    twice = [jnp.concatenate([b1, b1], axis=1), jnp.concatenate([c1, c1]), jnp.block([[d1, d1], [d1, d1]])]
    return _lft(a1, *twice, a2, b2, sign * c2, sign * d2)


@jax.jit
def _lft(a1, b, c, d, a2, b2, c2, d2):
    nu, ny = d2.shape
    m, p = d.shape[1] - nu, d.shape[0] - ny
    b1, bu, c1, cy = b[:, :m], b[:, m:], c[:p], c[p:]
    d11, d1u, dy1, dyu = d[:p, :m], d[:p, m:], d[p:, :m], d[p:, m:]
    # u = c2 x2 + d2 y and y = cy x1 + dy1 w + dyu u: all of u as a function of (x1, x2, w), then y.
    right = jnp.concatenate([matmul(d2, cy), c2, matmul(d2, dy1)], axis=1)
    u = _loop_solve(d2, dyu, right)
    y = jnp.concatenate([cy, jnp.zeros((ny, len(a2)), d.dtype), dy1], axis=1) + matmul(dyu, u)
    n1, n = len(a1), len(a1) + len(a2)
    own = jnp.concatenate([a1, jnp.zeros((n1, len(a2)), d.dtype), b1], axis=1) + matmul(bu, u)
    other = jnp.concatenate([jnp.zeros((len(a2), n1), d.dtype), a2, jnp.zeros((len(a2), m), d.dtype)], axis=1)
    states = jnp.concatenate([own, other + matmul(b2, y)])
    z = jnp.concatenate([c1, jnp.zeros((p, len(a2)), d.dtype), d11], axis=1) + matmul(d1u, u)
    return states[:, :n], states[:, n:], z[:, :n], z[:, n:]


def _loop_solve(d2: Array, dyu: Array, right: Array) -> Array:
    """(I - d2 dyu)^-1 ``right``; NaN where the loop is singular to rounding."""
    loop = jnp.eye(len(d2), dtype=d2.dtype) - matmul(d2, dyu)
    known = jnp.eye(len(d2), dtype=d2.dtype) + magnitude(d2, dyu)
    u, singular = checked_solve(loop, known, right, 1)
    return jnp.where(singular, jnp.nan, u)
