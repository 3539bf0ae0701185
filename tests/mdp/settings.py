"""Random processes with unequal discounts, and an independent NumPy reference by brute force."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlqr import families
from jaxlqr.mdp import make_tasks

ETA, TEMPERATURE = 3.0, 0.7
S, A, D, M = 5, 3, 4, 3


def random_tasks(seed: int, *, tabular: bool = False):
    """Three Garnets with unequal discounts and random starts, and random parameters; (theta, tasks)."""
    mdp_key, feature_key, theta_key, reward_key = jax.random.split(jax.random.key(seed), 4)
    mdps = families.garnet(mdp_key, M, S, A, gammas=(0.2, 0.95))
    mdps = replace(mdps, r=mdps.r + jax.random.normal(reward_key, mdps.r.shape))
    features = None if tabular else jax.random.normal(feature_key, (S, A, D))
    theta = jax.random.normal(theta_key, (S, A) if tabular else (D,))
    return theta, make_tasks(mdps, features=features, temperature=TEMPERATURE)


def reference_objective(theta, tasks, eta: Any):
    """The meta-objective in NumPy, from S A x S A chains, for real or complex theta."""
    phi = np.asarray(tasks.features[0]) if tasks.features is not None else np.eye(S * A).reshape(S, A, S * A)
    total = 0.0
    for P, r, gamma, zeta in zip(*map(np.asarray, jax.tree.leaves(tasks.mdp)), strict=True):
        logits = phi @ np.ravel(theta) / TEMPERATURE
        policy = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        Q = state_action_values(P, r, gamma, policy)
        adapted = policy * np.exp(eta * Q)
        adapted = adapted / adapted.sum(1, keepdims=True)
        total = total + zeta @ (adapted * state_action_values(P, r, gamma, adapted)).sum(1)
    return total / len(tasks.mdp.r)


def state_action_values(P, r, gamma, policy):
    """Q [S, A] from the chain on state-action pairs."""
    states, actions = r.shape
    chain = np.einsum("sat,tb->satb", P, policy).reshape(states * actions, states * actions)
    return (1 - gamma) * np.linalg.solve(np.eye(len(chain)) - gamma * chain, r.ravel()).reshape(states, actions)


def task_of(tasks, index: int):
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[index]), tasks)


def uniform(mdp):
    return jnp.full(mdp.r.shape, 1 / mdp.r.shape[-1])
