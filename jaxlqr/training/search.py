"""The problem that the loop minimises, and the search for the largest acceptable fraction of a step."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxlqr.core.types import PyTree
from jaxlqr.iterations.shortening import Trial, before_trials, first_accepted
from jaxlqr.oracles.protocol import all_finite

if TYPE_CHECKING:
    import optax


class Check(NamedTuple):
    """Result of the cheap evaluation at an iterate: whether it is feasible, and its records."""

    feasible: Array
    record: dict[str, Array]
    queries: Array  # cost queries that the test took, a scalar integer


class Direction(NamedTuple):
    """Result of the expensive evaluation at an iterate: the direction of descent, and its records."""

    direction: PyTree
    record: dict[str, Array]
    scale: Array  # factor on the update along it, a scalar
    queries: Array  # cost queries that it took, a scalar integer


class DescentProblem(Protocol):
    """The problem to minimise; hashable, so that JAX reuses a compiled loop. ``data`` holds all arrays."""

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

    problem: DescentProblem
    optimizer: "optax.GradientTransformation"
    safeguard: bool
    max_backtracks: int
    sharded: bool = False  # whether the data lie on a mesh
    record_params: bool = False


class Candidate(NamedTuple):
    fraction: Array  # of the proposed step
    params: PyTree
    check: Check


class SearchEnd(NamedTuple):
    candidate: Candidate
    ahead: Direction  # the direction at the candidate, which the next step needs
    acceptable: Array
    queries: Array  # of this candidate and of all rejected candidates before it


def blank(shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def search(settings: Settings, data: PyTree, params: PyTree, updates: PyTree, step: Array) -> SearchEnd:
    """Largest fraction 1, 1/2, 1/4, ... of the updates that is acceptable; after the last trial, none of them.

    The direction is computed at feasible candidates only. It costs about eighty times the check, and at an infeasible
    candidate it would shorten its inner steps in vain.
    """

    @jax.jit  # traced once, though it is called for its shapes and for its values
    def propose(fraction: Array) -> Candidate:
        # where, not a product: updates that are not finite must vanish with the fraction.
        moved = jax.tree.map(lambda p, u: jnp.where(fraction > 0, p + fraction * u, p), params, updates)
        return Candidate(fraction, moved, settings.problem.check(data, moved, step))

    @jax.jit
    def look(candidate: Candidate, queries: Array) -> SearchEnd:
        ahead = settings.problem.direct(data, candidate.params, step)
        acceptable = candidate.check.feasible & all_finite(ahead.direction)
        return SearchEnd(candidate, ahead, acceptable, queries + ahead.queries)

    dtype = jnp.result_type(*jax.tree.leaves(params))
    one, none = jnp.ones((), dtype), jnp.asarray(0, jnp.int32)
    if not settings.safeguard:
        return look(propose(one), none)  # nothing depends on the test, whose queries only record

    def test(fraction: Array, before: tuple[Candidate, Array]) -> tuple[tuple[Candidate, Array], Array]:
        candidate = propose(fraction)
        return (candidate, before[1] + candidate.check.queries), candidate.check.feasible

    def attempt(trial: Trial) -> Trial:
        # The next feasible candidate, from where the search stopped, and the costly look at it.
        going_on = trial._replace(value=(nothing, trial.value.queries))
        tested = first_accepted(test, going_on, max_backtracks=settings.max_backtracks, then_none=True)
        found = look(*tested.value)
        return tested._replace(value=found, accepted=found.acceptable)

    # Blank candidates start both loops, so that check and direction are compiled once each.
    nothing = blank(jax.eval_shape(propose, one))
    start = before_trials(blank(jax.eval_shape(look, nothing, none)), dtype)
    return lax.while_loop(
        lambda trial: ~trial.accepted & (trial.attempts <= settings.max_backtracks), attempt, start
    ).value
