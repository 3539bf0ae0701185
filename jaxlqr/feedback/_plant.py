"""The generalised plant: what disturbs it, what is penalised, what is measured, what is controlled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxlqr.core.checks import MatrixLike, check_shapes, refuse_half
from jaxlqr.core.result import short_repr
from jaxlqr.feedback._factor import factor
from jaxlqr.systems._state_space import StateSpace, as_matrix, one_dtype, sampling_time


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GeneralizedPlant:
    r"""A plant with all that a controller is judged by, a pytree; build it with :func:`generalized_plant`.

    .. math:: \dot x = A x + B_1 w + B_2 u, \qquad z = C_1 x + D_{11} w + D_{12} u, \qquad y = C_2 x + D_{21} w,

    or the same with :math:`x_{t+1}` on the left. There is no feedthrough from u to y.

    Attributes:
        A: state matrix [n, n].
        B1: input matrix [n, r] of the disturbances w.
        B2: input matrix [n, m] of the controls u.
        C1: output matrix [q, n] of the penalised outputs z.
        C2: output matrix [p, n] of the measurements y.
        D11: feedthrough [q, r] from w to z.
        D12: feedthrough [q, m] from u to z: the weight of the controls.
        D21: feedthrough [p, r] from w to y: the noise of the measurements.
        dt: sampling time, a scalar, in discrete time; None in continuous time. Whether time is discrete is part of the
            structure of the pytree. The sampling time itself is a leaf, which can be traced.

    A stack of plants (:func:`stack_plants`) is the same class with one leading axis on every array.
    """

    A: Float[Array, "*plants n n"]
    B1: Float[Array, "*plants n r"]
    B2: Float[Array, "*plants n m"]
    C1: Float[Array, "*plants q n"]
    C2: Float[Array, "*plants p n"]
    D11: Float[Array, "*plants q r"]
    D12: Float[Array, "*plants q m"]
    D21: Float[Array, "*plants p r"]
    dt: Float[Array, "*plants"] | None = None

    def __repr__(self) -> str:
        return short_repr(self).replace(", dt=None", "")

    @property
    def num_states(self) -> int:
        """Number n of states."""
        return self.A.shape[-1]

    @property
    def num_controls(self) -> int:
        """Number m of controls u."""
        return self.B2.shape[-1]

    @property
    def num_measurements(self) -> int:
        """Number p of measurements y."""
        return self.C2.shape[-2]

    @property
    def is_discrete(self) -> bool:
        """Whether time is discrete; a Python bool, also while the plant is traced."""
        return self.dt is not None

    @property
    def system(self) -> StateSpace:
        """The plant as one :class:`jaxlqr.systems.StateSpace` with inputs (w, u) and outputs (z, y).

        :func:`jaxlqr.systems.lft` closes its loop with a controller.
        """
        none = jnp.zeros((*self.A.shape[:-2], self.num_measurements, self.num_controls), self.A.dtype)
        upper = jnp.concatenate([self.D11, self.D12], axis=-1)
        lower = jnp.concatenate([self.D21, none], axis=-1)
        return StateSpace(
            self.A,
            jnp.concatenate([self.B1, self.B2], axis=-1),
            jnp.concatenate([self.C1, self.C2], axis=-2),
            jnp.concatenate([upper, lower], axis=-2),
            self.dt,
        )

    @property
    def actuated(self) -> StateSpace:
        """The part from u to y alone, a :class:`jaxlqr.systems.StateSpace` [p, m]: what a controller acts on."""
        none = jnp.zeros((*self.A.shape[:-2], self.num_measurements, self.num_controls), self.A.dtype)
        return StateSpace(self.A, self.B2, self.C2, none, self.dt)


def generalized_plant(
    A: MatrixLike,
    B1: MatrixLike,
    B2: MatrixLike,
    C1: MatrixLike,
    C2: MatrixLike,
    D11: MatrixLike | None = None,
    D12: MatrixLike | None = None,
    D21: MatrixLike | None = None,
    *,
    dt: ArrayLike | None = None,
) -> GeneralizedPlant:
    """Checked :class:`GeneralizedPlant`, from its matrices.

    Arguments:
        A: state matrix [n, n].
        B1, B2: input matrices [n, r] of the disturbances w, and [n, m] of the controls u.
        C1, C2: output matrices [q, n] of the penalised outputs z, and [p, n] of the measurements y.
        D11, D12, D21: feedthroughs [q, r], [q, m] and [p, r]; zeros if they are None.
        dt: the sampling time of a plant in discrete time; None, or 0, for continuous time. True means discrete time
            whose sampling time is not known. It becomes 1, so that time counts samples.

    Each matrix is nested lists or an array of NumPy, JAX or torch. A number stands for a matrix [1, 1].

    Raises:
        ValueError: naming the argument, what was expected, what was got and the remedy, when a shape does not fit or an
            entry is not finite.
        TypeError: for masked arrays, half precision and arrays of different precisions.

    Values are looked at outside ``jit``, ``vmap`` and ``grad`` only. Inside, shapes and dtypes are checked.

    >>> plant = generalized_plant([[1.0]], [[1.0]], [[1.0]], [[1.0], [0.0]], [[1.0]], D12=[[0.0], [1.0]])
    >>> plant.num_controls, plant.is_discrete
    (1, False)

    Source: Zhou, Doyle, Glover, Robust and Optimal Control (1996), chapter 14.
    """
    given = {"A": A, "B1": B1, "B2": B2, "C1": C1, "C2": C2, "D11": D11, "D12": D12, "D21": D21}
    return GeneralizedPlant(*_checked("generalized_plant", given, _LETTERS, dt))


def lqg_plant(
    A: MatrixLike,
    B: MatrixLike,
    C: MatrixLike,
    Q: MatrixLike,
    R: MatrixLike,
    W: MatrixLike,
    V: MatrixLike,
    *,
    N: MatrixLike | None = None,
    dt: ArrayLike | None = None,
) -> GeneralizedPlant:
    r"""The :class:`GeneralizedPlant` of a linear-quadratic-Gaussian problem.

    .. math:: x_{t+1} = A x_t + B u_t + w_t, \quad y_t = C x_t + v_t, \quad
        \mathrm{cov}\, w = W, \; \mathrm{cov}\, v = V,

    with the average cost :math:`E\,[x^\top Q x + u^\top R u + 2 x^\top N u]`. In continuous time W and V are
    intensities. :func:`h2_cost` is this average cost. With V = 0 in discrete time, or no noise on the measurements, it
    is also the sum of the costs from an initial state with second moment W: with C the identity it equals
        :func:`jaxlqr.cost`.

    Arguments:
        A: state matrix [n, n].
        B: input matrix [n, m].
        C: output matrix [p, n].
        Q, R: penalties [n, n] of the state and [m, m] of the controls.
        W, V: covariances [n, n] of the noise w on the state and [p, p] of the noise v on the measurements.
        N: cross penalty [n, m]; zero unless given.
        dt: as in :func:`generalized_plant`.

    The symmetric parts of the penalties and covariances count. C1 and D12 are the columns of a factor of
    [[Q, N], [N', R]], B1 and D21 the rows of factors of W and V. A factor has no derivative where its matrix is
    singular: the derivative with respect to a singular penalty or covariance is NaN. Differentiate the cost with
    respect to C1, D12, B1 or D21 there.

    Raises:
        ValueError: as :func:`generalized_plant`, and if a penalty or a covariance is not positive semidefinite. Inside
            ``jit``, where values are not seen, all entries of its factor are NaN.

    >>> one = [[1.0]]
    >>> lqg_plant([[0.9]], one, one, Q=one, R=one, W=one, V=one, dt=1.0).D12.tolist()
    [[0.0], [1.0]]

    Source: Anderson, Moore, Optimal Control: Linear Quadratic Methods (1990), chapter 8.
    """
    given = {"A": A, "B": B, "C": C, "Q": Q, "R": R, "W": W, "V": V, "N": N}
    letters = {"A": "nn", "B": "nm", "C": "pn", "Q": "nn", "R": "mm", "W": "nn", "V": "pp", "N": "nm"}
    a, b, c, q, r, w, v, cross, step = _checked("lqg_plant", given, letters, dt)
    n, (p, m) = len(a), (len(c), b.shape[1])
    if N is None:
        penalties = jax.scipy.linalg.block_diag(factor(q, "Q"), factor(r, "R"))
    else:
        penalties = factor(jnp.block([[q, cross], [cross.T, r]]), "[[Q, N], [N', R]]")
    zeros = jnp.zeros((n, p), a.dtype)
    return GeneralizedPlant(
        A=a,
        B1=jnp.concatenate([factor(w, "W").T, zeros], axis=1),
        B2=b,
        C1=penalties[:, :n],
        C2=c,
        D11=jnp.zeros((n + m, n + p), a.dtype),
        D12=penalties[:, n:],
        D21=jnp.concatenate([zeros.T, factor(v, "V").T], axis=1),
        dt=step,
    )


def stack_plants(plants: Sequence[GeneralizedPlant]) -> GeneralizedPlant:
    """One :class:`GeneralizedPlant` whose arrays carry a leading axis, for ``jax.vmap``; all must have the same sizes.

    Raises:
        ValueError: for an empty sequence, different sizes, and continuous beside discrete time.

    >>> plant = generalized_plant([[1.0]], [[1.0]], [[1.0]], [[1.0]], [[1.0]])
    >>> stack_plants([plant, plant]).A.shape
    (2, 1, 1)
    """
    plants = list(plants)
    if not plants:
        raise ValueError("plants must hold at least one plant, got an empty sequence; give a list of them.")
    for plant in plants:
        check_plant(plant)
    if len({plant.is_discrete for plant in plants}) > 1:
        raise ValueError("plants must all be in one time domain, got continuous and discrete ones; sample the former.")
    sizes = sorted({(plant.num_states, *plant.D11.shape, *plant.actuated.D.shape) for plant in plants})
    if len(sizes) > 1:
        raise ValueError(
            f"plants must all have the same sizes, got (n, q, r, p, m) in {sizes}; make one stack for each of them."
        )
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *plants)


def check_plant(plant: Any) -> GeneralizedPlant:
    """Raise ``ValueError`` unless ``plant`` is one :class:`GeneralizedPlant`, each of its arrays a matrix."""
    if not isinstance(plant, GeneralizedPlant):
        raise ValueError(
            f"plant must be a GeneralizedPlant, got {type(plant).__name__}; make one with "
            "feedback.lqg_plant(A, B, C, Q, R, W, V) or feedback.generalized_plant(...)."
        )
    if jnp.ndim(plant.A) != 2:
        raise ValueError(
            f"plant must be one plant, whose A is a matrix, got a stack with A of shape {jnp.shape(plant.A)}; map over "
            "a stack of plants with jax.vmap."
        )
    refuse_half("feedback", plant=plant)
    return plant


_LETTERS = {
    "A": "nn",
    "B1": "nr",
    "B2": "nm",
    "C1": "qn",
    "C2": "pn",
    "D11": "qr",
    "D12": "qm",
    "D21": "pr",
}


def _checked(function: str, given: dict[str, Any], letters: dict[str, str], dt: Any) -> list[Any]:
    """The matrices, zeros for those that are None, in one dtype and with the sampling time behind them."""
    raw = {name: as_matrix(value, name, function) for name, value in given.items() if value is not None}
    check_shapes(function, **{name: (raw.get(name), letters[name]) for name in letters})
    sizes = {letter: size for name in raw for letter, size in zip(letters[name], raw[name].shape, strict=True)}
    empty = [letter for letter, size in sizes.items() if size == 0]
    if empty:
        names = " and ".join(name for name in raw if empty[0] in letters[name])
        raise ValueError(f"{names} must have no axis of length 0, got one; give at least one state and one signal.")
    dtype = one_dtype(function, given, raw)
    arrays = [
        jnp.asarray(raw[name], dtype) if name in raw else jnp.zeros([sizes[letter] for letter in letters[name]], dtype)
        for name in letters
    ]
    return [*arrays, sampling_time(dt, dtype)]
