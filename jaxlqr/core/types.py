"""Names of types that every room uses."""

from typing import Any

#: Arrays in any nesting of lists, tuples, dicts and registered classes: what JAX calls a pytree.
PyTree = Any
