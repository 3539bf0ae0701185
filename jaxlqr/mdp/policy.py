r"""Energy-based policies :math:`\pi_\theta(a|s) \propto \exp(f_\theta(s, a) / \tau)` and the proximal step from one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from jaxlqr.core.compiled import compiled
from jaxlqr.mdp.energy import Energy, linear_energy
from jaxlqr.mdp.evaluation import evaluate
from jaxlqr.mdp.model import MDP


@compiled(prepare=lambda temperature: check_positive("temperature", temperature))
def policy(
    params: Any, *, features: Any = None, temperature: float | Array = 1.0, energy: Energy = linear_energy
) -> Array:
    r"""Probabilities :math:`\pi_\theta(a|s) \propto \exp(f_\theta(s, a) / \tau)`, [S, A]; rows sum to one.

    Arguments:
        params: a vector [d] with linear features, a table [S, A] without.
        features: second argument of ``energy``: [S, A, d] for the linear one, or None.
        temperature: :math:`\tau > 0`.
        energy: function (params, features) -> [S, A]; linear unless given.

    >>> policy(jnp.zeros((1, 4)))
    Array([[0.25, 0.25, 0.25, 0.25]], dtype=...)

    Source: wang2020, equation (3.2).
    """
    return jax.nn.softmax(energy(params, features) / temperature, axis=-1)


@compiled()
def proximal_step(mdp: MDP, policy: Array, step_size: float | Array) -> Array:
    r"""The policy after one KL-proximal step, [S, A]: :math:`\pi'(a|s) \propto \pi(a|s) \exp(\eta\, Q^\pi(s, a))`.

    It maximises :math:`\langle Q^\pi(s, \cdot), \pi'(\cdot|s)\rangle - \mathrm{KL}(\pi'\,\|\,\pi) / \eta` in every
    state, and never lowers the return. Q is normalised by :math:`1 - \gamma` (:func:`jaxlqr.mdp.evaluate`), so
    :math:`\eta` is in units of one over the mean reward.

    Arguments:
        mdp: the process.
        policy: probabilities [S, A].
        step_size: :math:`\eta`, not negative; 0 leaves the policy as it is.

    >>> from jaxlqr.families import bandit
    >>> better = proximal_step(bandit([0.0, 1.0]), jnp.array([[0.5, 0.5]]), 2.0)
    >>> [round(float(p), 4) for p in better[0]]
    [0.2689, 0.7311]

    Source: wang2020, equations (3.1) and (3.3), with Q of the initial policy (docs/errata.md, W3).
    """
    return tilt(policy, step_size * evaluate(mdp, policy).Q)


def tilt(policy: Array, exponent: Array) -> Array:
    """Probabilities proportional to policy * exp(exponent); an action of probability zero keeps it."""
    # The logarithm is taken of positive entries only, or the derivative at the others would be NaN.
    positive = policy > 0
    logits = jnp.where(positive, jnp.log(jnp.where(positive, policy, 1)) + exponent, -jnp.inf)
    return jax.nn.softmax(logits, axis=-1)


def check_positive(name: str, value: Any, *, zero_allowed: bool = False) -> None:
    """Raise ``ValueError`` unless ``value`` is positive and finite; traced values pass."""
    if isinstance(value, Tracer):
        return
    array = np.asarray(value, dtype=float)
    if not np.all(np.isfinite(array) & ((array >= 0) if zero_allowed else (array > 0))):
        raise ValueError(f"{name} must be {'non-negative' if zero_allowed else 'positive'} and finite, got {value}.")
