"""One tabular Markov decision process, stacks of them, and tasks: a process with a policy class on it."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.core.checks import real_array
from jaxlqr.mdp.energy import Energy, linear_energy


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MDP:
    r"""A Markov decision process with S states and A actions, a pytree; :func:`make_mdp` builds and checks it.

    Attributes:
        P: transition probabilities [S, A, S]; P[s, a] is the distribution of the next state.
        r: mean rewards [S, A].
        gamma: discount factor in (0, 1), a scalar.
        zeta: distribution of the initial state [S].

    A stack of processes (:func:`stack_mdps`) is the same class with one leading axis on every array.
    """

    P: Array
    r: Array
    gamma: Array
    zeta: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MDPTask:
    r"""A process and the policies :math:`\pi_\theta \propto \exp(f_\theta / \tau)` on it; see :func:`make_tasks`.

    Attributes:
        mdp: the process.
        temperature: :math:`\tau`, a scalar.
        features: argument of the energy: [S, A, d] for the linear one; None where the parameters are a table [S, A].
        energy: function (params, features) -> [S, A], static; linear unless given.
    """

    mdp: MDP
    temperature: Array
    _: KW_ONLY
    features: Any = None
    energy: Energy = field(default=linear_energy, metadata={"static": True})

    def policy(self, params: Any) -> Array:
        """Probabilities [S, A] at ``params``."""
        return jax.nn.softmax(self.logits(params), axis=-1)

    def logits(self, params: Any) -> Array:
        """Energies over temperature [S, A]."""
        return self.energy(params, self.features) / self.temperature


def make_mdp(P: Any, r: Any, gamma: float, zeta: Any | None = None) -> MDP:
    """Checked :class:`MDP`; the initial state is uniform unless ``zeta`` is given.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, a probability is negative, a row does not sum to
            one, or gamma is outside (0, 1). The message names the argument, the expectation, the value and a remedy.

    >>> make_mdp([[[1.0], [1.0]]], [[0.0, 1.0]], gamma=0.9).r.shape
    (1, 2)
    """
    transitions = _real(P, "P")
    if transitions.ndim != 3 or transitions.shape[0] != transitions.shape[2] or 0 in transitions.shape:
        raise ValueError(
            f"P must have shape [S, A, S] with P[s, a] the distribution of the next state, got {transitions.shape}."
        )
    S, A, _ = transitions.shape
    rewards = _real(r, "r")
    if rewards.shape != (S, A):
        raise ValueError(f"r must have shape [S, A] = ({S}, {A}), got {rewards.shape}.")
    start = np.full(S, 1 / S) if zeta is None else _real(zeta, "zeta")
    if start.shape != (S,):
        raise ValueError(f"zeta must have shape [S] = ({S},), got {start.shape}.")
    discount = _real(gamma, "gamma")
    if discount.shape != () or not 0 < discount < 1:
        raise ValueError(f"gamma must be one number strictly between 0 and 1, got {gamma}.")
    transitions, start = _distributions(transitions, "P"), _distributions(start, "zeta")
    dtype = jnp.result_type(float)
    return MDP(*(jnp.asarray(value, dtype) for value in (transitions, rewards, discount, start)))


def stack_mdps(mdps: Sequence[MDP]) -> MDP:
    """One :class:`MDP` whose arrays carry a leading axis; all must have the same numbers of states and actions.

    >>> mdp = make_mdp([[[1.0]]], [[0.0]], gamma=0.5)
    >>> stack_mdps([mdp, mdp]).gamma.shape
    (2,)
    """
    mdps = list(mdps)
    if not mdps:
        raise ValueError("mdps must hold at least one process, got an empty sequence.")
    sizes = {tuple(mdp.r.shape) for mdp in mdps}
    if len(sizes) > 1:
        raise ValueError(
            f"mdps must all have the same numbers of states and actions, got (S, A) in {sorted(sizes)}; pad the "
            "smaller ones with states that are never reached."
        )
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *mdps)


def make_tasks(
    mdps: MDP,
    *,
    features: Any = None,
    temperature: float = 1.0,
    energy: Energy = linear_energy,
) -> MDPTask:
    """Tasks for :func:`jaxlqr.meta_train` from a stack of processes and one policy class; or one task from one process.

    Arguments:
        mdps: a stack (leading axis M) or one process.
        features: [S, A, d], shared by all tasks; None where the parameters are a table [S, A]. With ``energy``, a
            pytree of arrays.
        temperature: of the policies, positive.
        energy: function (params, features) -> [S, A], hashable, for policies that are not linear.

    Raises:
        ValueError: when the features do not fit or the temperature is not positive.

    >>> from jaxlqr.families import bandit
    >>> make_tasks(stack_mdps([bandit([0.0, 1.0])] * 3), features=jnp.ones((1, 2, 5))).features.shape
    (3, 1, 2, 5)
    """
    if mdps.r.ndim not in (2, 3):
        raise ValueError(f"mdps must be one process or a stack with one leading axis, got r of shape {mdps.r.shape}.")
    lead, sizes = mdps.r.shape[:-2], mdps.r.shape[-2:]
    if features is not None and energy is linear_energy:
        features = jnp.asarray(features, mdps.r.dtype)
        if features.ndim != 3 or features.shape[:2] != sizes or features.shape[2] == 0:
            raise ValueError(
                f"features must have shape [S, A, d] with S, A = {sizes[0]}, {sizes[1]} as the processes, got "
                f"{features.shape}."
            )
    if not (np.ndim(temperature) == 0 and 0 < temperature < np.inf):
        raise ValueError(f"temperature must be one positive finite number, got {temperature}.")

    def repeat(leaf: Any) -> Array:
        return jnp.broadcast_to(leaf, (*lead, *jnp.shape(leaf)))

    tau = repeat(jnp.asarray(temperature, mdps.r.dtype))
    return MDPTask(mdps, tau, features=jax.tree.map(repeat, features), energy=energy)


def _real(value: Any, name: str) -> np.ndarray:
    return real_array(value, name, function="make_mdp", result="MDP")


def _distributions(array: np.ndarray, name: str) -> np.ndarray:
    """``array`` with the distributions along its last axis normalised to the last digit."""
    if array.min() < 0:
        where = tuple(int(i) for i in np.unravel_index(array.argmin(), array.shape))
        raise ValueError(
            f"{name} must hold probabilities, got {array[where]} at index {where}; clip or renormalise it."
        )
    sums = array.sum(axis=-1)
    # Data normalised in float32 pass; a larger error means that the row is not a distribution.
    wrong = np.abs(sums - 1) > 1e-6
    if np.any(wrong):
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"{name}{list(where) if where else ''} must sum to one, got {sums[where]:.8g}; divide {name} by its sums "
            "over the last axis."
        )
    return array / sums[..., None]
