"""Classes of static gains: maps from parameters to a gain [m, p]."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.core.arguments import as_key
from jaxlqr.core.products import matmul
from jaxlqr.feedback._sizes import Sizes, sizes_of


@dataclass(frozen=True)
class StaticGain:
    """All gains F [m, p], u = -F y; the parameters are F itself. :func:`static` makes one.

    Attributes:
        sizes: numbers of controls and measurements, and the sampling time.
    """

    sizes: Sizes

    def __call__(self, params: Array) -> Array:
        """The gain [m, p]."""
        return params

    def initial(self, *, key: Any = None, scale: float = 1.0) -> Array:
        """Parameters to start from: zero, or with a ``key`` normal ones with this standard deviation."""
        return normal(key, (self.sizes.num_controls, self.sizes.num_measurements), scale)


@dataclass(frozen=True, eq=False)
class StructuredGain:
    """Gains with structure, from parameters of any form; :func:`structured` makes one.

    Attributes:
        function: function of the parameters that returns a gain [m, p].
        start: parameters, a pytree of arrays, that :meth:`initial` starts from.
        sizes: numbers of controls and measurements, and the sampling time.
    """

    function: Callable[[Any], Array]
    start: Any
    sizes: Sizes

    def __call__(self, params: Any) -> Array:
        """The gain [m, p]."""
        gain = self.function(params)
        expected = (self.sizes.num_controls, self.sizes.num_measurements)
        if jnp.shape(gain) != expected:
            raise ValueError(
                f"function must return a gain of shape {expected}, one row per control and one column per measurement, "
                f"got {jnp.shape(gain)}; mend it."
            )
        return gain

    def initial(self, *, key: Any = None, scale: float = 1.0) -> Any:
        """The start, plus with a ``key`` normal numbers with this standard deviation."""
        leaves, structure = jax.tree.flatten(self.start)
        if key is None:
            return jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in leaves])
        keys = jax.random.split(as_key(key), len(leaves))
        moved = [leaf + normal(k, np.shape(leaf), scale, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
        return jax.tree.unflatten(structure, moved)


def normal(key: Any, shape: tuple[int, ...], scale: float, dtype: Any = None) -> Array:
    """Zeros without a key, else normal numbers with this standard deviation."""
    dtype = jnp.result_type(float) if dtype is None else dtype
    if key is None:
        return jnp.zeros(shape, dtype)
    return jnp.asarray(scale, dtype) * jax.random.normal(as_key(key), shape, dtype)


def static(plant: Any) -> StaticGain:
    """Return the class of all static gains, :class:`StaticGain`: its parameters are the gain F [m, p].

    Arguments:
        plant: a :class:`GeneralizedPlant` or a stack of them, whose sizes are taken.

    >>> from jaxlqr import feedback
    >>> plant = feedback.generalized_plant([[1.0]], [[1.0]], [[1.0]], [[1.0]], [[1.0]])
    >>> feedback.static(plant).initial().shape
    (1, 1)
    """
    return StaticGain(sizes_of(plant))


def structured(
    plant: Any,
    *,
    mask: Any = None,
    basis: Any = None,
    offset: Any = None,
    blocks: Sequence[tuple[Sequence[int], Sequence[int]]] | None = None,
    function: Callable[[Any], Array] | None = None,
    start: Any = None,
) -> StructuredGain:
    """Return a class of static gains with structure, :class:`StructuredGain`. Give one of the four kinds.

    Arguments:
        plant: a :class:`GeneralizedPlant` or a stack of them, whose sizes are taken.
        mask: [m, p], true where the gain may be nonzero. The parameters [k] are these entries, row by row.
        basis: gains [k, m, p]. The parameters [k] are the coefficients of the gain in this basis.
        blocks: decentralised control: pairs (controls, measurements) of index lists. The controls of a pair use the
            measurements of this pair only. The parameters [k] are the entries of the blocks, row by row of the gain.
        offset: gain [m, p] that is added, with a mask, a basis or blocks; zero unless given.
        function: any function from a pytree of arrays to a gain [m, p]; it needs ``start``.
        start: the pytree that ``function`` starts from; otherwise parameters [k], zero unless given.

    Raises:
        ValueError: unless exactly one kind is given and its shape fits.

    >>> from jaxlqr import feedback
    >>> plant = feedback.generalized_plant([[1.0]], [[1.0]], [[1.0, 1.0]], [[1.0]], [[1.0], [1.0]])
    >>> feedback.structured(plant, mask=[[1, 0], [0, 1]])(jnp.array([2.0, 3.0])).tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    sizes = sizes_of(plant)
    kinds = {"mask": mask, "basis": basis, "blocks": blocks, "function": function}
    given = [name for name, value in kinds.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"structured must get one of mask, basis, blocks and function, got {given}; give exactly one.")
    if function is not None:
        if start is None or offset is not None:
            raise ValueError("function must come with start, its first parameters, and without an offset; mend this.")
        return StructuredGain(function, jax.tree.map(jnp.asarray, start), sizes)
    shape = (sizes.num_controls, sizes.num_measurements)
    if basis is None:
        basis = _unit_gains(_mask(mask, shape) if blocks is None else _of_blocks(blocks, shape))
    basis = np.asarray(basis, float)
    if basis.ndim != 3 or basis.shape[1:] != shape or not len(basis):
        raise ValueError(f"basis must be gains [k, {shape[0]}, {shape[1]}] with k >= 1, got shape {basis.shape}.")
    constant = np.zeros(shape) if offset is None else np.asarray(offset, float)
    if constant.shape != shape:
        raise ValueError(f"offset must be a gain of shape {shape}, got {constant.shape}; check its transpose.")
    first = jnp.zeros(len(basis)) if start is None else jnp.asarray(start)
    if first.shape != (len(basis),):
        raise ValueError(f"start must have shape ({len(basis)},), one entry per coefficient, got {first.shape}.")
    return StructuredGain(_Affine(basis, constant), first, sizes)


@dataclass(frozen=True, eq=False)
class _Affine:
    """offset + sum over i of params[i] basis[i]."""

    basis: np.ndarray
    offset: np.ndarray

    def __call__(self, params: Array) -> Array:
        rows = jnp.asarray(self.basis.reshape(len(self.basis), -1), params.dtype)
        gain = matmul(params[None, :], rows).reshape(self.offset.shape)
        return gain + jnp.asarray(self.offset, params.dtype)


def _mask(mask: Any, shape: tuple[int, int]) -> np.ndarray:
    there = np.asarray(mask) != 0
    if there.shape != shape or not there.any():
        raise ValueError(f"mask must have shape {shape} and a nonzero entry, got shape {there.shape}; check it.")
    return there


def _of_blocks(blocks: Sequence[tuple[Sequence[int], Sequence[int]]], shape: tuple[int, int]) -> np.ndarray:
    there = np.zeros(shape, bool)
    for rows, columns in blocks:
        for index, size, what in ((rows, shape[0], "controls"), (columns, shape[1], "measurements")):
            if not all(0 <= i < size for i in index):
                raise ValueError(f"blocks must name {what} from 0 to {size - 1}, got {list(index)}; mend this pair.")
        there[np.ix_(list(rows), list(columns))] = True
    return _mask(there, shape)


def _unit_gains(there: np.ndarray) -> np.ndarray:
    places = np.argwhere(there)
    basis = np.zeros((len(places), *there.shape))
    basis[np.arange(len(places)), places[:, 0], places[:, 1]] = 1
    return basis
