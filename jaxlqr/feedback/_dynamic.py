"""Classes of controllers with memory: maps from parameters to a state space from y to u."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.core.arguments import as_key, check_count
from jaxlqr.core.products import matmul
from jaxlqr.feedback._plant import GeneralizedPlant, check_plant
from jaxlqr.feedback._sizes import Sizes, sizes_of
from jaxlqr.feedback._structure import normal
from jaxlqr.systems._state_space import StateSpace


@dataclass(frozen=True)
class FIRController:
    r"""Controllers that use the last measurements, :math:`u_t = -\sum_{k=0}^{H} F_k y_{t-k}`; :func:`fir` makes one.

    Attributes:
        sizes: numbers of controls and measurements, and the sampling time.
        memory: number H of past measurements that are used beside the newest one.
    """

    sizes: Sizes
    memory: int

    def __call__(self, params: Array) -> StateSpace:
        """The controller with p H states, the past measurements, from the gains [H + 1, m, p]."""
        p, h = self.sizes.num_measurements, self.memory
        eye = np.eye(p)
        a = jnp.asarray(np.kron(np.eye(h, k=-1), eye), params.dtype)
        b = jnp.asarray(np.kron(np.eye(h)[:, :1], eye), params.dtype)
        rows = -jnp.swapaxes(params[1:], 0, 1).reshape(self.sizes.num_controls, p * h)
        return self.sizes.system(a, b, rows, -params[0])

    def initial(self, *, key: Any = None, scale: float = 1.0) -> Array:
        """Parameters to start from: zero, or with a ``key`` normal ones with this standard deviation."""
        return normal(key, (self.memory + 1, self.sizes.num_controls, self.sizes.num_measurements), scale)


@dataclass(frozen=True)
class DynamicController:
    """Controllers with a number of states; :func:`dynamic` makes one.

    Attributes:
        sizes: numbers of controls m and measurements p, and the sampling time.
        order: number k of states.
        canonical: whether each controller has one set of parameters.
        direct: whether u may depend on y at the same time.

    The parameters are a dict of arrays. Not canonical: A [k, k], B [k, p], C [m, k], and D [m, p] if direct. The same
    controller in other coordinates has other parameters with the same cost: minima are not isolated, and the Hessian
    has a null space of dimension k^2 there. Canonical: A is a companion matrix and the first column of B is the
    first unit vector. The parameters are ``poly`` [k], the coefficients of its characteristic polynomial behind the
    leading one, B [k, p - 1], its other columns, C and D. Every controller whose states the first measurement reaches
    has exactly one such form.
    """

    sizes: Sizes
    order: int
    canonical: bool
    direct: bool

    def __call__(self, params: dict[str, Array]) -> StateSpace:
        """The controller with these parameters."""
        c = params["C"]
        d = params["D"] if self.direct else jnp.zeros((c.shape[0], self.sizes.num_measurements), c.dtype)
        if not self.canonical:
            return self.sizes.system(params["A"], params["B"], c, d)
        shift = jnp.eye(self.order, k=-1, dtype=c.dtype)
        first = jnp.eye(self.order, 1, dtype=c.dtype)
        a = shift - matmul(first, params["poly"][None, :])
        return self.sizes.system(a, jnp.concatenate([first, params["B"]], axis=1), c, d)

    def initial(self, *, key: Any = 0, scale: float = 1.0) -> dict[str, Array]:
        """Parameters to start from: stable poles, and normal entries of B, C and D times ``scale``.

        All poles are -1 in continuous and 0 in discrete time, in the canonical form as well. A controller with B and C
        zero would be a stationary point of every cost, so a ``key`` is always used.
        """
        k, m, p = self.order, self.sizes.num_controls, self.sizes.num_measurements
        kb, kc, kd = jax.random.split(as_key(key), 3)
        pole = -1.0 if self.sizes.dt is None else 0.0
        params = {"C": normal(kc, (m, k), scale)} | ({"D": normal(kd, (m, p), scale)} if self.direct else {})
        if not self.canonical:
            return params | {"A": pole * jnp.eye(k), "B": normal(kb, (k, p), scale)}
        poly = jnp.asarray(np.poly(np.full(k, pole))[1:], jnp.result_type(float))
        return params | {"poly": poly, "B": normal(kb, (k, p - 1), scale)}


@dataclass(frozen=True)
class PIDController:
    r"""Proportional, integral and filtered derivative action on every measurement; :func:`pid` makes one.

    .. math:: u = -\Big(F_P + \frac{F_I}{s} + \frac{F_D\, s}{\tau s + 1}\Big) y .

    Attributes:
        sizes: numbers of controls and measurements, and the sampling time.
        integral, derivative: whether these parts are there.

    The parameters are a dict: ``proportional``, ``integral`` and ``derivative`` [m, p], and ``log_filter_time`` [], the
    logarithm of the time constant tau of the filter. In discrete time 1/s and s are backward differences.
    """

    sizes: Sizes
    integral: bool
    derivative: bool

    def __call__(self, params: dict[str, Array]) -> StateSpace:
        """The controller with p states for the integrals and p for the filtered measurements."""
        direct = params["proportional"]
        dtype, p, dt = direct.dtype, self.sizes.num_measurements, self.sizes.dt
        eye = jnp.eye(p, dtype=dtype)
        parts: list[tuple[Array, Array, Array]] = []  # pole, input and output of each part
        if self.integral:
            gain = params["integral"]
            # Backward differences: the integral holds the newest measurement, too.
            pole, entry, step = (0.0, 1.0, 0.0) if dt is None else (1.0, dt, dt)
            parts.append((pole * eye, entry * eye, gain))
            direct = direct + step * gain
        if self.derivative:
            tau = jnp.exp(params["log_filter_time"])
            if dt is None:
                rate = 1 / tau
                parts.append((-rate * eye, rate * eye, -rate * params["derivative"]))
            else:
                # x+ = x + share (y - x), and the derivative is (y - x) / (tau + dt).
                rate = 1 / (tau + dt)
                share = dt * rate
                parts.append(((1 - share) * eye, share * eye, -rate * params["derivative"]))
            direct = direct + rate * params["derivative"]
        size = p * len(parts)
        if not parts:
            empty = jnp.zeros((0, p), dtype)
            return self.sizes.system(jnp.zeros((0, 0), dtype), empty, jnp.zeros((direct.shape[0], 0), dtype), -direct)
        a = jax.scipy.linalg.block_diag(*(pole for pole, _, _ in parts)).reshape(size, size)
        b = jnp.concatenate([entry for _, entry, _ in parts])
        c = jnp.concatenate([gain for _, _, gain in parts], axis=1)
        return self.sizes.system(a, b, -c, -direct)

    def initial(self, *, key: Any = None, scale: float = 1.0) -> dict[str, Array]:
        """Parameters to start from: zero gains, or with a ``key`` normal ones; tau is 0.1, or one sampling time.

        A zero integral gain leaves its integrator alone, on the boundary of stability, so that every cost is +inf.
        """
        shape = (self.sizes.num_controls, self.sizes.num_measurements)
        names = ["proportional"] + ["integral"] * self.integral + ["derivative"] * self.derivative
        keys = [None] * 3 if key is None else list(jax.random.split(as_key(key), 3))
        params = {name: normal(k, shape, scale) for name, k in zip(names, keys, strict=False)}
        tau = 0.1 if self.sizes.dt is None else self.sizes.dt
        return params | (
            {"log_filter_time": jnp.log(jnp.asarray(tau, jnp.result_type(float)))} if self.derivative else {}
        )


@dataclass(frozen=True, eq=False)
class ObserverController:
    r"""An observer of the state with a gain on its estimate; :func:`observer_based` makes one.

    .. math:: \dot{\hat x} = A \hat x + B_2 u + L (y - C_2 \hat x), \qquad u = -K \hat x .

    Attributes:
        sizes: numbers of controls and measurements, and the sampling time.
        model: A, B2 and C2 of the plant that the observer knows.

    The parameters are a dict: ``regulator`` K [m, n] and ``estimator`` L [n, p]. The poles of the loop with this very
    plant are those of A - B2 K and of A - L C2.
    """

    sizes: Sizes
    model: tuple[np.ndarray, np.ndarray, np.ndarray]

    def __call__(self, params: dict[str, Array]) -> StateSpace:
        """The controller with n states."""
        regulator, estimator = params["regulator"], params["estimator"]
        a, b, c = (jnp.asarray(matrix, regulator.dtype) for matrix in self.model)
        own = a - matmul(b, regulator) - matmul(estimator, c)
        none = jnp.zeros((b.shape[1], c.shape[0]), regulator.dtype)
        return self.sizes.system(own, estimator, -regulator, none)

    def initial(self, *, key: Any = None, scale: float = 1.0) -> dict[str, Array]:
        """Parameters to start from: zero gains, or with a ``key`` normal ones with this standard deviation."""
        n, m = self.model[1].shape
        first, second = (None, None) if key is None else jax.random.split(as_key(key))
        return {
            "regulator": normal(first, (m, n), scale),
            "estimator": normal(second, (n, self.sizes.num_measurements), scale),
        }


def fir(plant: Any, memory: int) -> FIRController:
    """Return the class of controllers that use the newest and ``memory`` earlier measurements, in discrete time.

    Arguments:
        plant: a :class:`GeneralizedPlant` or a stack of them, whose sizes and sampling time are taken.
        memory: number H of earlier measurements, at least one. The parameters are gains [H + 1, m, p].

    >>> from jaxlqr import feedback
    >>> plant = feedback.generalized_plant([[1.0]], [[1.0]], [[1.0]], [[1.0]], [[1.0]], dt=1.0)
    >>> feedback.fir(plant, 2)(jnp.array([[[1.0]], [[0.5]], [[0.25]]])).C.tolist()
    [[-0.5, -0.25]]
    """
    sizes = sizes_of(plant)
    check_count("memory", memory)
    if sizes.dt is None:
        raise ValueError("plant must be in discrete time for a controller with memory; sample it, or use dynamic.")
    return FIRController(sizes, memory)


def dynamic(plant: Any, order: int, *, canonical: bool = False, direct: bool | None = None) -> DynamicController:
    """Return the class of controllers with ``order`` states, :class:`DynamicController`.

    Arguments:
        plant: a :class:`GeneralizedPlant` or a stack of them, whose sizes and sampling time are taken.
        order: number k of states, at least one.
        canonical: take a canonical form, in which each controller has one set of parameters; else all matrices.
        direct: whether u may depend on y at the same time; unless given, in discrete time only: in continuous time
            noise on the measurements would make the H2 cost infinite.

    >>> from jaxlqr import feedback
    >>> plant = feedback.generalized_plant([[1.0]], [[1.0]], [[1.0]], [[1.0]], [[1.0]])
    >>> sorted(feedback.dynamic(plant, 2).initial(key=0))
    ['A', 'B', 'C']
    """
    sizes = sizes_of(plant)
    check_count("order", order)
    return DynamicController(sizes, order, canonical, sizes.dt is not None if direct is None else direct)


def pid(plant: Any, *, integral: bool = True, derivative: bool = True) -> PIDController:
    """Return the class of PID controllers, :class:`PIDController`; without parts also PI, PD or P.

    Arguments:
        plant: a :class:`GeneralizedPlant` or a stack of them, whose sizes and sampling time are taken.
        integral, derivative: whether these parts are there.

    >>> from jaxlqr import feedback
    >>> plant = feedback.generalized_plant([[1.0]], [[1.0]], [[1.0]], [[1.0]], [[1.0]])
    >>> sorted(feedback.pid(plant, derivative=False).initial())
    ['integral', 'proportional']
    """
    return PIDController(sizes_of(plant), integral, derivative)


def observer_based(plant: GeneralizedPlant) -> ObserverController:
    """Return the class of observers with a gain on the estimate, :class:`ObserverController`.

    Arguments:
        plant: one :class:`GeneralizedPlant`, which the observer knows. The controller may then be judged by other ones.

    >>> from jaxlqr import feedback
    >>> plant = feedback.generalized_plant([[1.0]], [[1.0]], [[1.0]], [[1.0]], [[1.0]])
    >>> params = {"regulator": jnp.array([[3.0]]), "estimator": jnp.array([[2.0]])}
    >>> feedback.observer_based(plant)(params).A.tolist()  # 1 - 3 - 2
    [[-4.0]]
    """
    check_plant(plant)
    return ObserverController(sizes_of(plant), (np.asarray(plant.A), np.asarray(plant.B2), np.asarray(plant.C2)))
