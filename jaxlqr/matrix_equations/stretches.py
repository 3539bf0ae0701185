r"""Stretches of time of a linear-quadratic problem or of a linear Gaussian model, which join associatively.

A stretch from x_i to x_j is a quadratic function of both ends. It is kept in its dual form

    max over z of   x_i'J x_i / 2 - x_i'e - z'C z / 2 - z'(x_j - A x_i - b),

which is finite even where no control, or no noise, leads from x_i to x_j. Two readings:

- optimal control: the cost of going from x_i to x_j at best. A stretch that ends in the final cost has A = b = C = 0: J
  and -e are the value function at its beginning.
- filtering: minus the logarithm, up to a constant, of the density of x_j and of the measurements after x_i, given x_i,
  which is N(x_j; A x_i + b, C) exp(x_i'e - x_i'J x_i / 2). A stretch that begins with the prior has A = e = J = 0: b
  and C are the moments of x_j given the measurements.

The vectors b and e may have several columns, one for each right-hand side.

Source: Särkkä, García-Fernández, IEEE Trans. Automatic Control 66 (2021), temporal parallelization of Bayesian
smoothers, section IV; 68 (2023), temporal parallelization of dynamic programming and linear quadratic control, section
IV.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxlqr.core.products import hermitian, matmul


class Stretch(NamedTuple):
    """The quadratic function of the two ends of a stretch of time, in the dual form above."""

    A: Array  # [n, n]
    b: Array  # [n, k]
    C: Array  # [n, n]
    e: Array  # [n, k]
    J: Array  # [n, n]


def join(first: Stretch, second: Stretch) -> Stretch:
    """The stretch of both, ``first`` before ``second``: the optimum over the state between them, or its integral."""
    identity = jnp.eye(first.C.shape[-1], dtype=first.C.dtype)
    # (I + C1 J2)^-1 [A1, C1, b1 + C1 e2]; its counterpart with J2 C1 follows by symmetry, J2 (I + C1 J2)^-1 =
    # (I + J2 C1)^-1 J2, so that one factorisation serves all.
    right = [first.A, first.C, first.b + matmul(first.C, second.e)]
    solved = jnp.linalg.solve(identity + matmul(first.C, second.J), jnp.concatenate(right, axis=1))
    n = identity.shape[0]
    MA, MC, Mb = solved[:, :n], solved[:, n : 2 * n], solved[:, 2 * n :]
    return Stretch(
        A=matmul(second.A, MA),
        b=matmul(second.A, Mb) + second.b,
        C=hermitian(matmul(second.A, MC, second.A.mT)) + second.C,
        # A1'(I + J2 C1)^-1 (e2 - J2 b1) = A1'(e2 - J2 (I + C1 J2)^-1 (b1 + C1 e2)).
        e=matmul(first.A.mT, second.e - matmul(second.J, Mb)) + first.e,
        J=hermitian(matmul(first.A.mT, second.J, MA)) + first.J,
    )
