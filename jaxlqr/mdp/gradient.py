r"""The gradient of the meta-objective :math:`L(\theta) = \frac1n \sum_i J_i(\pi_{i,\theta})` in closed form."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.arguments import check_count
from jaxlqr.core.batching import over_stack
from jaxlqr.core.compiled import compiled
from jaxlqr.mdp.evaluation import Resolvent, evaluate_with, reached, visitation_with
from jaxlqr.mdp.model import MDP, MDPTask
from jaxlqr.mdp.policy import check_positive, tilt

_CACHE = 2**18  # bytes of P side by side; best among 1 to 250 processes of 20 states, and 1 to 10 of 81


class Anatomy(NamedTuple):
    """Quantities of one task for the gradient and its theory.

    Attributes:
        policy, adapted: the policy and the one after the proximal step [S, A].
        main, after: advantages [S, A] of the policy and of the adapted one.
        sigma: visitation of the adapted policy [S, A].
        follow: visitation of the policy from the states that follow ``sigma`` [S, A]; (3.10) of the paper.
        weighed: the same, with the measure ``sigma * after`` in place of ``sigma`` [S, A].
        J: return of the adapted policy.
    """

    policy: Array
    adapted: Array
    main: Array
    after: Array
    sigma: Array
    follow: Array
    weighed: Array
    J: Array


def anatomy(logits: Array, mdp: MDP, inner_step_size: float | Array) -> Anatomy:
    """Everything the gradient is made of, from two factorisations. ``logits`` [S, A] are energies over temperature."""
    policy = jax.nn.softmax(logits, axis=-1)
    before = Resolvent(mdp, policy)
    main = evaluate_with(before, mdp, policy)
    adapted = tilt(policy, inner_step_size * main.Q)
    beyond = Resolvent(mdp, adapted)
    after = evaluate_with(beyond, mdp, adapted)
    sigma = visitation_with(beyond, mdp, adapted, mdp.zeta)

    def followed(measure: Array) -> Array:
        # Unused results are not computed: under jit the gradient has one adjoint solve, the theory two.
        return visitation_with(before, mdp, policy, reached(mdp.P, measure))

    return Anatomy(policy, adapted, main.A, after.A, sigma, followed(sigma), followed(sigma * after.A), after.J)


def density(parts: Anatomy, mdp: MDP, temperature: Array, inner_step_size: float | Array) -> Array:
    r"""D_i [S, A] with :math:`\nabla J_i(\pi_{i,\theta}) = \sum_{s,a} D_i(s, a)\, \nabla f_\theta(s, a)`.

    .. math:: D_i = \frac{1}{\tau (1-\gamma_i)} \left( \sigma_{\pi_i} A_i^{\pi_i}
              + \frac{\eta \gamma_i}{1-\gamma_i}\, u_i\, \pi_\theta A_i^{\pi_\theta} \right), \quad
              u_i = (1-\gamma_i) (I - \gamma_i P_{\pi_\theta}^\top)^{-1} m_i, \quad
              m_i(s') = \sum_{s,a} \sigma_{\pi_i} A_i^{\pi_i} P_i(s'|s, a);

    its sum over actions is zero.
    """
    horizon = 1 / (1 - mdp.gamma)
    second = inner_step_size * mdp.gamma * horizon * parts.weighed * parts.main
    return horizon / temperature * (parts.sigma * parts.after + second)


def _check_sizes(inner_step_size: Any, batch_size: Any) -> None:
    check_positive("inner_step_size", inner_step_size, zero_allowed=True)
    if batch_size is not None:
        check_count("batch_size", batch_size)


@compiled(static=("batch_size",), prepare=_check_sizes)
def meta_gradient(
    params: Any,
    tasks: MDPTask,
    inner_step_size: float | Array,
    *,
    weights: Array | None = None,
    batch_size: int | None = None,
) -> Any:
    r"""Gradient of :math:`L(\theta) = \sum_i w_i J_i(\pi_{i,\theta})` through one proximal step, in closed form.

    .. math:: \nabla L = \sum_{s,a} \nabla f_\theta(s, a) \sum_i w_i D_i(s, a),

    with :math:`D_i` of :func:`density`: it costs two factorisations and one adjoint solve for each task. Reverse-mode
    differentiation of the meta-objective costs the same, and agrees to rounding. This is the direction of ascent of the
    return.

    Arguments:
        params: parameters of the tasks' energy: [d], or [S, A] without features.
        tasks: a stack of :class:`jaxlqr.mdp.MDPTask` that share their features (:func:`jaxlqr.mdp.make_tasks`).
        inner_step_size: proximal step size :math:`\eta`.
        weights: task weights [M]; 1/M each unless given.
        batch_size: tasks worked on at once, which bounds the memory used beside the tasks themselves.
            Unless given all of them, but on a CPU as many as its cache holds: a quarter of a MiB of ``P``.

    Returns:
        A pytree like ``params``.

    >>> import jaxlqr
    >>> mdps = jaxlqr.mdp.stack_mdps([jaxlqr.families.bandit([0.0, 1.0]), jaxlqr.families.bandit([0.5, 1.0])])
    >>> meta_gradient(jnp.zeros((1, 2)), jaxlqr.mdp.make_tasks(mdps), 1.0).shape
    (1, 2)

    Source: wang2020, Proposition 3.2, equations (3.7) and (3.8), corrected (docs/errata.md, W1).
    """
    count = tasks.mdp.r.shape[0]
    shares = jnp.full(count, 1 / count, tasks.mdp.r.dtype) if weights is None else jnp.asarray(weights)
    if tasks.mdp.r.ndim != 3 or shares.shape != (count,):
        raise ValueError(
            f"tasks must be a stack, with weights [M], got r of shape {tasks.mdp.r.shape} and weights {shares.shape}."
        )

    def one(task: MDPTask, share: Array) -> Any:
        # The energy is told from its features once; its derivative along D is all that the parameters see.
        logits, pull = jax.vjp(task.logits, params)
        D = density(anatomy(logits, task.mdp, inner_step_size), task.mdp, task.temperature, inner_step_size)
        return pull(share * task.temperature * D)[0]

    def in_batches(size: int | None) -> Callable[..., Any]:
        return partial(over_stack, one, size)

    if batch_size is None:
        one_P = tasks.mdp.P.size // count * tasks.mdp.P.dtype.itemsize
        in_cache = max(1, _CACHE // one_P)
        gradients = lax.platform_dependent(tasks, shares, cpu=in_batches(in_cache), default=in_batches(None))
    else:
        gradients = in_batches(batch_size)(tasks, shares)
    return jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), gradients)
