"""Static checks shared by the solvers; each error states the expected value, the given value and a remedy."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import ArrayLike

MatrixLike = ArrayLike | Sequence[Sequence[float]]


def refuse_masked(value: Any, name: str) -> None:
    """Raise ``TypeError`` for a masked array of NumPy, or a list of them: masked entries are not data."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be an array without a mask, got a masked array; write x.filled(0.0) for the value that "
            "masked entries shall have, or numpy.asarray(x) where none is masked."
        )
    if isinstance(value, list | tuple):
        for row in value:
            refuse_masked(row, name)


def as_floating(value: MatrixLike, name: str, function: str) -> Array:
    """The value as an array of floating dtype; lists of floats become arrays.

    Raises ``TypeError`` for integers, masked arrays and half precision, which is too coarse for the equations.
    """
    if isinstance(value, Array):
        array = value  # asarray would return it as well, but takes as long as a small kernel
    else:
        refuse_masked(value, f"{function}: argument {name}")
        array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        raise TypeError(
            f"{function}: argument {name} must have a floating dtype, got {array.dtype}; write 1.0 for 1, or convert "
            f"it with {name}.astype(float)."
        )
    refuse_half(function, **{name: array})
    return array


def with_dtype(array: Array, dtype: Any) -> Array:
    """The array with this dtype; one that has it already is returned itself, without a kernel."""
    return array if array.dtype == dtype and not array.weak_type else array.astype(dtype)


def refuse_half(function: str, **arguments: Any) -> None:
    """Raise ``TypeError`` where an argument, or a leaf of it, has half precision: float16, bfloat16 or less."""
    for name, value in arguments.items():
        for leaf in jax.tree.leaves(value):
            dtype = getattr(leaf, "dtype", None)
            if dtype is not None and jnp.issubdtype(dtype, jnp.inexact) and jnp.finfo(dtype).bits < 32:
                raise TypeError(
                    f"{function}: argument {name} must have the precision of float32 or float64, got {dtype}; convert "
                    f"it with x.astype(jnp.float32)."
                )


def as_matrices(function: str, **arguments: MatrixLike) -> list[Array]:
    """The arguments as matrices of one precision and one dtype, complex when any of them is.

    Raises ``TypeError`` for arrays of different precisions: no silent conversion of one of them would be right. Lists
    get the precision of the arrays.
    """
    arrays = {name: as_floating(value, name, function) for name, value in arguments.items()}
    for name, array in arrays.items():
        if array.ndim != 2:
            raise ValueError(
                f"{function}: argument {name} must be a matrix, an array with two axes, got shape {array.shape}; use "
                "jax.vmap for a batch, and x[:, None] or [[x]] for a vector or a number."
            )
    typed = {name: array for name, array in arrays.items() if hasattr(arguments[name], "dtype")} or arrays
    precisions = {jnp.finfo(array.dtype).dtype for array in typed.values()}
    if len(precisions) > 1:
        got = ", ".join(f"{name} {array.dtype}" for name, array in typed.items())
        raise TypeError(
            f"{function}: all arguments must have the same precision, got {got}; convert them with "
            "x.astype(jnp.float64), which needs jax_enable_x64, or x.astype(jnp.float32)."
        )
    dtype = jnp.result_type(*typed.values())
    if any(jnp.iscomplexobj(array) for array in arrays.values()):
        dtype = jnp.result_type(dtype, jnp.complex64)
    return [with_dtype(array, dtype) for array in arrays.values()]


def check_shapes(function: str, **expected: tuple[Array | None, str]) -> None:
    """Raise ``ValueError`` unless each array has its shape, given as two letters for the sizes, such as ``"nm"``.

    The first array with a letter defines its size. The check skips arrays that are ``None``.
    """
    sizes: dict[str, tuple[int, str]] = {}
    for name, (array, letters) in expected.items():
        if array is None:
            continue
        if letters[0] == letters[1] and array.shape[0] != array.shape[1]:
            raise ValueError(
                f"{function}: argument {name} must be a square matrix [{letters[0]}, {letters[0]}], got shape "
                f"{array.shape}; pass a matrix with as many rows as columns."
            )
        for letter, size in zip(letters, array.shape, strict=True):
            wanted, owner = sizes.setdefault(letter, (size, name))
            if size != wanted:
                raise ValueError(
                    f"{function}: argument {name} must have shape [{letters[0]}, {letters[1]}] with {letter} = "
                    f"{wanted} as in argument {owner}, got shape {array.shape}; check the order of the arguments."
                )


def equation_arguments(
    function: str, method: str | None = None, methods: Sequence[str] = (), /, **given: tuple[ArrayLike, str]
) -> list[Array]:
    """The arguments of a matrix equation as :func:`as_matrices`, after checks of their shapes and of the method.

    Arguments:
        function: name of the public function, for the messages.
        method: one of ``methods``; not checked where the function has none.
        given: each argument, by its name, with the two letters of its shape, see :func:`check_shapes`.

    Raises:
        ValueError: when the method is unknown, or an argument is no matrix of its shape.
        TypeError: as :func:`as_matrices`.

    >>> [x.shape for x in equation_arguments("f", a=([[1.0]], "nn"), q=([[1.0, 2.0]], "nm"))]
    [(1, 1), (1, 2)]
    """
    if methods and method not in methods:
        *first, last = (f'"{name}"' for name in methods)
        raise ValueError(
            f'{function}: method must be {", ".join(first)} or {last}, got {method!r}; use "{methods[0]}".'
        )
    arrays = as_matrices(function, **{name: value for name, (value, _) in given.items()})
    letters = [letters for _, letters in given.values()]
    check_shapes(function, **dict(zip(given, zip(arrays, letters, strict=True), strict=True)))
    return arrays


def real_array(
    value: Any, name: str, *, function: str, result: str, kind: str = "an array of real numbers"
) -> np.ndarray:
    """The value as float64: real and finite, of any shape.

    Arguments:
        value: what a caller passed as the argument ``name`` of ``function``, which looks at values outside ``jit``.
        result: class that ``function`` builds, for the messages.
        kind: of what the value must be.

    Raises:
        TypeError: inside ``jit``, and for a masked array.
        ValueError: for what is not real or not finite.
    """
    if isinstance(value, Tracer):
        raise TypeError(
            f"{function} looks at the values of {name} and cannot run inside jit, vmap or grad; call it outside, or "
            f"construct {result} from arrays that were checked before."
        )
    refuse_masked(value, name)
    try:
        if np.iscomplexobj(value):
            raise TypeError("it has complex entries")
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be {kind}, got {type(value).__name__}: {error}.") from None
    if not np.all(np.isfinite(array)):
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, got {array[where]} at index {where}.")
    return array
