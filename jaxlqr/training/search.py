"""The problem that the loop minimises, and the search for the largest acceptable fraction of a step."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.oracles.protocol import PyTree, all_finite

if TYPE_CHECKING:
    import optax


class Check(NamedTuple):
    """What a cheap look at an iterate tells: whether it is feasible, and what to record."""

    feasible: Array
    record: dict[str, Array]
    queries: Array  # cost queries that the test took, a scalar integer


class Direction(NamedTuple):
    """What the costly look tells: where to descend from an iterate, and what to record."""

    direction: PyTree
    record: dict[str, Array]
    scale: Array  # factor on the update along it, a scalar
    queries: Array  # cost queries that it took, a scalar integer


class Problem(Protocol):
    """What is minimised; hashable, so that a compiled loop is found again. ``data`` holds all arrays."""

    def check(self, data: PyTree, params: PyTree, step: Array) -> Check:
        """Look whether iterate number ``step`` is feasible."""
        ...

    def direct(self, data: PyTree, params: PyTree, step: Array) -> Direction:
        """Find the direction at iterate number ``step``."""
        ...

    # Python sets it to None where a class defines equality only, so the type of ``object`` does not hold for all.
    __hash__: Callable[[], int]  # type: ignore[assignment]


class Settings(NamedTuple):
    """Static choices of the loop."""

    problem: Problem
    optimizer: "optax.GradientTransformation"
    safeguard: bool
    max_backtracks: int
    sharded: bool = False  # whether the data lie on a mesh
    record_params: bool = False


class Candidate(NamedTuple):
    fraction: Array  # of the proposed step
    params: PyTree
    check: Check


class Found(NamedTuple):
    candidate: Candidate
    ahead: Direction  # the direction at the candidate, which the next step needs
    acceptable: Array
    queries: Array  # of this candidate and of all that were refused before it


def blank(shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def search(settings: Settings, data: PyTree, params: PyTree, updates: PyTree, step: Array) -> Found:
    """Largest fraction 1, 1/2, 1/4, ... of the updates that is acceptable; after the last trial, none of them.

    The direction is computed at feasible candidates only: it costs some eighty times the check, and at an infeasible
    candidate it would shorten its own inner steps in vain.
    """

    @jax.jit  # traced once, though it is called for its shapes and for its values
    def propose(fraction: Array) -> Candidate:
        # where, not a product: updates that are not finite must vanish with the fraction.
        moved = jax.tree.map(lambda p, u: jnp.where(fraction > 0, p + fraction * u, p), params, updates)
        return Candidate(fraction, moved, settings.problem.check(data, moved, step))

    @jax.jit
    def look(candidate: Candidate, queries: Array) -> Found:
        ahead = settings.problem.direct(data, candidate.params, step)
        acceptable = candidate.check.feasible & all_finite(ahead.direction)
        return Found(candidate, ahead, acceptable, queries + ahead.queries)

    one, none = jnp.asarray(1.0), jnp.asarray(0, jnp.int32)
    if not settings.safeguard:
        return look(propose(one), none)  # nothing depends on the test, whose queries only record

    def fraction_of(trial: Array) -> Array:
        return jnp.where(trial < settings.max_backtracks, 0.5**trial, 0.0).astype(one.dtype)

    def next_feasible(carry):
        _, trial, queries = carry
        candidate = propose(fraction_of(trial))
        return candidate, trial + 1, queries + candidate.check.queries

    def infeasible(carry):
        candidate, *_ = carry
        return ~candidate.check.feasible & (candidate.fraction > 0)

    def unfinished(carry):
        found, _ = carry
        return ~found.acceptable & (found.candidate.fraction > 0)

    def attempt(carry):
        found, trial = carry
        candidate, trial, queries = lax.while_loop(infeasible, next_feasible, (nothing, trial, found.queries))
        return look(candidate, queries), trial

    # Blank candidates start both loops, so that check and direction are compiled once each.
    nothing = blank(jax.eval_shape(propose, one))._replace(fraction=one)
    start = blank(jax.eval_shape(look, nothing, none))._replace(candidate=nothing)
    return lax.while_loop(unfinished, attempt, (start, jnp.asarray(0)))[0]
