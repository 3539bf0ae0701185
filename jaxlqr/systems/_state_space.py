"""Linear systems as pytrees: matrices and sampling time are leaves, the names of signals are not."""

import dataclasses
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxlqr.core.checks import MatrixLike, refuse_half, refuse_masked
from jaxlqr.core.optional import optional
from jaxlqr.core.result import short_repr
from jaxlqr.core.status import SolveStatus, check_lanes
from jaxlqr.systems._reading import check_dt, is_system, plain, read_system

SignalNames = tuple[str, ...] | None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StateSpace:
    r"""A linear system, a pytree; build it with :func:`ss`, which checks it.

    .. math:: \dot x = A x + B u \;\text{ or }\; x_{t+1} = A x_t + B u_t, \qquad y = C x + D u .

    Attributes:
        A: state matrix [n, n].
        B: input matrix [n, m].
        C: output matrix [p, n].
        D: feedthrough [p, m].
        dt: sampling time, a scalar, in discrete time; None in continuous time. Whether time is discrete is part of the
            structure of the pytree. The sampling time is a leaf, so it can be traced.
        states, inputs, outputs: names of the signals, tuples of n, m and p texts, or None. They are static.

    A stack of systems (:func:`stack_systems`) is the same class with one leading axis on every array.
    """

    A: Float[Array, "*systems n n"]
    B: Float[Array, "*systems n m"]
    C: Float[Array, "*systems p n"]
    D: Float[Array, "*systems p m"]
    dt: Float[Array, "*systems"] | None = None
    _: KW_ONLY
    states: SignalNames = field(default=None, metadata={"static": True})
    inputs: SignalNames = field(default=None, metadata={"static": True})
    outputs: SignalNames = field(default=None, metadata={"static": True})

    def __repr__(self) -> str:
        text = short_repr(self)
        for name in ("states", "inputs", "outputs"):
            text = text.replace(f", {name}=None", "")
        return text

    @property
    def num_states(self) -> int:
        """Number n of states."""
        return self.A.shape[-1]

    @property
    def num_inputs(self) -> int:
        """Number m of inputs."""
        return self.D.shape[-1]

    @property
    def num_outputs(self) -> int:
        """Number p of outputs."""
        return self.D.shape[-2]

    @property
    def is_discrete(self) -> bool:
        """Whether time is discrete; a Python bool, also while the system is traced."""
        return self.dt is not None

    @property
    def status(self) -> Any:
        """:class:`~jaxlqr.SolveStatus` code: SOLVED, or NO_FINITE_SYSTEM if an entry is not finite.

        It is a scalar, or one code for each system of a stack. It can be read inside ``jit``.
        """
        good = jnp.asarray(True)
        for array in (self.A, self.B, self.C, self.D):
            good = good & jnp.all(jnp.isfinite(array), axis=(-2, -1))
        return jnp.where(good, SolveStatus.SOLVED, SolveStatus.NO_FINITE_SYSTEM).astype(jnp.int32)

    def check(self) -> "StateSpace":
        """Return the system itself if all its entries are finite.

        Raises:
            RuntimeError: otherwise; the message names the systems of a stack. Outside ``jit`` only.
        """
        check_lanes(self.status, "systems")
        return self


def ss(
    A: Any,
    B: MatrixLike | None = None,
    C: MatrixLike | None = None,
    D: MatrixLike | None = None,
    *,
    dt: ArrayLike | None = None,
    states: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> StateSpace:
    """Checked :class:`StateSpace`, from matrices or from a system of python-control or SciPy.

    Arguments:
        A: state matrix [n, n]: nested lists or an array of NumPy, JAX or torch; ``[]`` for a system without states. Or
            a system: a :class:`StateSpace`, or one of python-control or SciPy, whose matrices, sampling time and names
            are taken.
        B: input matrix [n, m]; not with a system.
        C: output matrix [p, n]; the identity if it is None: all states are outputs.
        D: feedthrough [p, m]; zeros if it is None or 0.
        dt: the sampling time of a system in discrete time; None, or 0 as in python-control, for continuous time. True
            means discrete time whose sampling time is not known. It becomes 1, so that time counts samples. With a
            system, ``dt`` may only be given where the sampling time is not known.
        states, inputs, outputs: names of the signals. SignalNames that python-control invents (``x[0]``) are not kept.

    A number stands for a matrix [1, 1]. Integers become floats.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or a system of another package has no states. The
            message names the argument, the expectation, the value and a remedy.
        TypeError: for masked arrays, half precision and arrays of different precisions.

    Values are looked at outside ``jit``, ``vmap`` and ``grad`` only. Inside, shapes and dtypes are checked.

    >>> ss([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]], [[1.0, 0.0]], outputs=["position"]).outputs
    ('position',)
    >>> ss([[0.9]], [[1.0]], dt=0.1).is_discrete
    True
    """
    names = {"states": states, "inputs": inputs, "outputs": outputs}
    if isinstance(A, StateSpace) or is_system(A):
        if B is not None or C is not None or D is not None:
            raise ValueError("B, C and D must not be given with a system, which has its own; leave them out.")
        A, B, C, D, dt, own = _of_system(A, dt)
        names = {key: own[key] if value is None else value for key, value in names.items()}
    elif B is None:
        raise ValueError("B must be given with a matrix A, [n, m]; only a system has its own.")
    a, b, c, d = _shaped(A, B, C, D)
    step = sampling_time(dt, a.dtype)
    sizes = {"states": len(a), "inputs": b.shape[1], "outputs": len(c)}
    kept = {key: _names(key, value, sizes[key]) for key, value in names.items()}
    return StateSpace(a, b, c, d, step, **kept)


def stack_systems(systems: Sequence[StateSpace]) -> StateSpace:
    """One :class:`StateSpace` whose arrays carry a leading axis, for ``jax.vmap``; all must have the same sizes.

    SignalNames that are not the same in all systems are dropped.

    Raises:
        ValueError: for an empty sequence, different sizes, and continuous beside discrete time.

    >>> stack_systems([ss([[0.5]], [[1.0]]), ss([[0.4]], [[1.0]])]).A.shape
    (2, 1, 1)
    """
    systems = list(systems)
    if not systems:
        raise ValueError("systems must hold at least one system, got an empty sequence; give a list of them.")
    sizes = sorted({(system.num_states, system.num_inputs, system.num_outputs) for system in systems})
    if len(sizes) > 1:
        raise ValueError(
            f"systems must all have the same sizes, got (n, m, p) in {sizes}; make one stack for each of them."
        )
    if len({system.is_discrete for system in systems}) > 1:
        raise ValueError("systems must all be in one time domain, got continuous and discrete ones; sample the former.")
    common = {name: _common([getattr(system, name) for system in systems]) for name in ("states", "inputs", "outputs")}
    return jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *(dataclasses.replace(system, **common) for system in systems)
    )


def to_control(system: StateSpace) -> Any:
    """The system as a ``control.StateSpace``, with its names and its sampling time; 0 stands for continuous time.

    Raises:
        ValueError: for a stack of systems, and where python-control is not installed.

    >>> to_control(ss([[0.0, 1.0], [0.0, 0.0]], [[0.0], [1.0]], dt=0.1)).nstates
    2
    """
    if np.ndim(system.A) != 2:
        raise ValueError(
            f"system must be one system, got a stack with A of shape {np.shape(system.A)}; take one out with "
            "jax.tree.map(lambda leaf: leaf[i], systems)."
        )
    dt = 0 if system.dt is None else float(system.dt)
    matrices = [np.asarray(leaf, float) for leaf in (system.A, system.B, system.C, system.D)]
    names = {"states": system.states, "inputs": system.inputs, "outputs": system.outputs}
    given = {key: list(value) for key, value in names.items() if value is not None}
    return optional("control", "control", "to_control").StateSpace(*matrices, dt, **given)


def check_system(system: Any, name: str = "system") -> StateSpace:
    """Raise ``ValueError`` unless ``system`` is one :class:`StateSpace`, each of its arrays a matrix."""
    if not isinstance(system, StateSpace):
        raise ValueError(
            f"{name} must be a StateSpace, got {type(system).__name__}; make one with systems.ss(A, B, C)."
        )
    if jnp.ndim(system.A) != 2:
        raise ValueError(
            f"{name} must be one system, whose A is a matrix, got a stack with A of shape {jnp.shape(system.A)}; map "
            "over a stack of systems with jax.vmap."
        )
    refuse_half("systems", **{name: system})
    return system


def _common(values: list[SignalNames]) -> SignalNames:
    return values[0] if all(value == values[0] for value in values) else None


def _of_system(system: Any, dt: Any) -> tuple[Any, ...]:
    if isinstance(system, StateSpace):
        if dt is not None:
            raise ValueError("dt must not be given with a StateSpace; write dataclasses.replace(system, dt=dt).")
        own = {name: getattr(system, name) for name in ("states", "inputs", "outputs")}
        return system.A, system.B, system.C, system.D, system.dt, own
    found = read_system(system)
    if dt is not None and found.dt is not True:
        raise ValueError(
            f"dt must not be given with a {type(system).__name__} that has its own ({found.dt}), got {dt!r}; leave "
            "it out, and sample a continuous system with systems.sample(systems.ss(system), dt)."
        )
    return found.A, found.B, found.C, found.D, found.dt if dt is None else dt, found.names


def _shaped(A: Any, B: Any, C: Any, D: Any) -> tuple[Array, Array, Array, Array]:
    given = {"A": A, "B": B, "C": C, "D": D}
    if isinstance(D, int | float) and D == 0:
        given["D"] = None
    raw = {name: as_matrix(value, name, "ss") for name, value in given.items() if value is not None}
    a = raw["A"]
    if a.size == 0:
        a = raw["A"] = a.reshape(0, 0)
    n = a.shape[0]
    if a.shape != (n, n):
        raise ValueError(f"A must be a square matrix [n, n], got shape {a.shape}; give as many rows as columns.")
    m = raw["D"].shape[-1] if n == 0 and "D" in raw else raw["B"].shape[-1]
    b = raw["B"] = raw["B"].reshape(0, m) if n == 0 and raw["B"].size == 0 else raw["B"]
    if b.shape != (n, m) or m == 0:
        raise ValueError(f"B must have shape [{n}, m] with as many rows as A and m >= 1, got {b.shape}; check it.")
    if "C" not in raw:
        raw["C"] = np.eye(n)
    elif n == 0 and raw["C"].size == 0:
        raw["C"] = raw["C"].reshape(raw["D"].shape[0] if "D" in raw else 0, 0)
    p = raw["C"].shape[0]
    if raw["C"].shape != (p, n) or p == 0:
        raise ValueError(f"C must have shape [p, {n}] with as many columns as A and p >= 1, got {raw['C'].shape}.")
    if raw.setdefault("D", np.zeros((p, m))).shape != (p, m):
        raise ValueError(
            f"D must have shape [{p}, {m}], one row per output and one column per input, got {raw['D'].shape}; leave "
            "it out where it is zero."
        )
    dtype = one_dtype("ss", given, raw)
    a, b, c, d = (jnp.asarray(raw[name], dtype) for name in "ABCD")
    return a, b, c, d


def as_matrix(value: Any, name: str, function: str) -> Any:
    """The value as a matrix of NumPy or JAX, real, finite unless it is traced."""
    refuse_masked(value, name)
    value = plain(value)
    traced = isinstance(value, Array | Tracer)
    try:
        array = value if traced else np.asarray(value)
        if not traced and array.dtype.kind not in "fiubc":
            raise TypeError(f"its entries are {array.dtype}")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a real matrix, got {type(value).__name__}: {error}.") from None
    if jnp.iscomplexobj(array):
        raise ValueError(f"{name} must be a real matrix, got complex entries; give the real form of the system.")
    refuse_half(function, **{name: array})
    if array.ndim == 0:
        array = array.reshape(1, 1)
    if array.ndim == 1 and not array.size:
        array = array.reshape(0, 0)
    if array.ndim != 2:
        row, column = f"{name}[None, :] for one output", f"{name}[:, None] for one input"
        vector = {"B": column, "C": row}.get(name, f"[[{name}]] for one entry")
        remedy = f"write {vector}" if array.ndim == 1 else "use stack_systems, or jax.vmap(ss), for a batch"
        raise ValueError(f"{name} must be a matrix, an array with two axes, got shape {array.shape}; {remedy}.")
    if not isinstance(array, Tracer) and array.size:
        values = np.asarray(array, float)
        if not np.all(np.isfinite(values)):
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise ValueError(f"{name} must be finite, got {values[where]} at index {where}; mend this entry.")
    return array


def one_dtype(function: str, given: dict[str, Any], raw: dict[str, Any]) -> Any:
    """The one precision of those arguments that have one, or the default of JAX."""
    typed = {
        name: raw[name]
        for name, value in given.items()
        if isinstance(value, Array | np.ndarray | Tracer) and jnp.issubdtype(raw[name].dtype, jnp.floating)
    }
    found = {jax.dtypes.canonicalize_dtype(array.dtype) for array in typed.values() if array.size}
    if len(found) > 1:
        got = ", ".join(f"{name} {array.dtype}" for name, array in typed.items())
        raise TypeError(
            f"{function}: all arguments must have the same precision, got {got}; convert them with "
            "x.astype(jnp.float64), which needs jax_enable_x64, or x.astype(jnp.float32)."
        )
    return found.pop() if found else jnp.result_type(float)


def sampling_time(dt: Any, dtype: Any) -> Array | None:
    """``dt`` as :func:`ss` takes it: None or 0 for continuous time, True for samples of unknown length."""
    if dt is None or (isinstance(dt, int | float) and not isinstance(dt, bool) and dt == 0):
        return None
    if isinstance(dt, Tracer):
        if dt.ndim:
            raise ValueError(f"dt must be a scalar, got shape {dt.shape}; use jax.vmap for several sampling times.")
        return dt.astype(dtype)
    return jnp.asarray(1 if dt is True else check_dt(dt), dtype)


def _names(kind: str, value: Sequence[str] | None, size: int) -> SignalNames:
    if value is None:
        return None
    names = tuple(value) if not isinstance(value, str) else (value,)
    if len(names) != size or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{kind} must be {size} names, one for each of the {kind}, got {value!r}; mend it.")
    if len(set(names)) < size:
        raise ValueError(f"{kind} must be different names, got {value!r}; rename one of them.")
    return names
