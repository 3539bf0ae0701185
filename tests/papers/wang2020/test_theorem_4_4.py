"""Theorem 4.4, printed and with one function for each task: erratum W4."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.papers.wang2020.theory import theorem_4_4
from jaxlqr.supervised import Risk, SupervisedTask, make_supervised_tasks
from tests.supervised.test_supervised import RISKS, random_tasks

bound = jax.jit(theorem_4_4, static_argnames=("risk", "form"))


@pytest.mark.parametrize("kind", RISKS)
def test_theorem_4_4_holds_and_the_task_indexed_form_is_tighter(kind):
    risk, eta, ratios = RISKS[kind], 0.3, []
    for seed in range(30):
        tasks, omega, other = random_tasks(seed, kind)
        if bound(other, omega, tasks, eta, 10.0, risk=risk).gap < 0:
            omega, other = other, omega
        printed = bound(other, omega, tasks, eta, 10.0, risk=risk)
        indexed = bound(other, omega, tasks, eta, 10.0, risk=risk, form="task_indexed")
        objective = lambda theta, tasks=tasks: jaxlqr.maml_loss(risk, theta, tasks, inner_step_size=eta)  # noqa: E731
        if seed < 3:  # compiled anew for each
            assert float(printed.gap) == pytest.approx(float(objective(omega) - objective(other)), rel=1e-10)
            slope = jnp.linalg.norm(jax.grad(objective)(omega))
            for told in (printed, indexed):
                assert float(told.epsilon) == pytest.approx(float(slope), rel=1e-10)
        ratios.append([float(told.bound / told.gap) for told in (printed, indexed)])
        if kind == "squared":
            assert float(indexed.residual) < 1e-10  # from R = |omega - theta*| on
    printed, indexed = np.array(ratios).T
    assert np.all(indexed >= 1 - 1e-9)
    assert np.all(printed >= 1 - 1e-9)
    # Rounding apart, a smaller median is the point of the form.
    assert np.median(indexed) < np.median(printed)


def test_the_task_indexed_form_is_not_tighter_in_every_draw():
    """Erratum W4: for two points a task and a small ball the printed bound is the smaller one now and then."""
    rng, (tasks_each, points) = np.random.default_rng(0), (2, 2)
    x = np.broadcast_to(rng.normal(size=(500, 1, points, 1)), (500, tasks_each, points, 1))
    tasks = jax.tree.map(
        jnp.asarray, SupervisedTask(x, rng.normal(size=x.shape[:3]), rng.dirichlet(np.ones(points), x.shape[:2]))
    )

    def both(ends, task):
        def bounds(end, other):
            forms: tuple[Literal["printed"], Literal["task_indexed"]] = ("printed", "task_indexed")
            return [theorem_4_4(end, other, task, 0.3, 0.1, risk=RISKS["squared"], form=form) for form in forms]

        forward, backward = bounds(ends[0], ends[1]), bounds(ends[1], ends[0])
        return jnp.stack(
            [jnp.where(a.gap > 0, a.bound / a.gap, b.bound / b.gap) for a, b in zip(forward, backward, strict=True)]
        )

    printed, indexed = np.asarray(jax.jit(jax.vmap(both))(jnp.asarray(rng.normal(size=(500, 2, 1))), tasks)).T
    assert np.all(np.minimum(printed, indexed) >= 1 - 1e-9)  # rounding
    assert 10 < np.sum(indexed > 1.001 * printed) < 100
    assert np.median(indexed) < np.median(printed)


@pytest.mark.parametrize(
    ("common", "options", "message"),
    [
        (True, {"form": "tight"}, 'form must be "printed" or "task_indexed"'),
        (True, {"risk": Risk(kind="cross_entropy")}, "risk must be squared or logistic"),
        (False, {}, "tasks must have common inputs"),
    ],
)
def test_bad_input_is_refused(common, options, message):
    x = np.ones((2, 4, 1)) if common else np.random.default_rng(0).normal(size=(2, 4, 1))
    tasks = make_supervised_tasks(x, np.zeros((2, 4)))
    with pytest.raises(ValueError, match=message):
        theorem_4_4(jnp.ones(1), jnp.zeros(1), tasks, 0.1, 1.0, **options)
