"""Families of similar tasks: distances, masks, symmetry, transforms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.families import boeing, heterogeneity, perturb

MATRICES = ("A", "B", "Q", "R")
KEY = jax.random.key(0)
LEVEL = 0.05
# Rounding of X + change, relative to a change of 0.6 * 0.05.
ROUNDING = 1e-12


def norms(matrices) -> np.ndarray:
    return np.linalg.norm(np.asarray(matrices), 2, axis=(-2, -1))


@pytest.mark.parametrize("include_nominal", [True, False])
def test_tasks_are_near_each_other_and_at_one_distance_from_the_nominal_one(include_nominal):
    nominal = boeing()
    tasks = perturb(KEY, nominal, 12, LEVEL, include_nominal=include_nominal)
    for name in MATRICES:
        stack, centre = np.asarray(getattr(tasks, name)), np.asarray(getattr(nominal, name))
        changes = norms(stack - centre)
        start = 1 if include_nominal else 0
        np.testing.assert_allclose(changes[start:], 0.6 * LEVEL, rtol=ROUNDING)
        if include_nominal:
            np.testing.assert_array_equal(stack[0], centre)
        distances = norms(stack[:, None] - stack[None, :])
        assert np.max(distances) < LEVEL
        # The draws differ from each other.
        assert np.min(distances + np.eye(12)) > 1e-3 * LEVEL
    for name in ("Q", "R"):
        matrix = getattr(tasks, name)
        np.testing.assert_allclose(matrix, matrix.mT, atol=1e-15, rtol=0)  # two orders of one rounded sum
    np.testing.assert_array_equal(tasks.Sigma0, np.broadcast_to(nominal.Sigma0, (12, 4, 4)))


def test_rejection_is_at_work():
    # At 0.6 of the level two draws may be 1.2 levels apart: without rejection some of 12 are, for the smallest matrix.
    matrices = [getattr(boeing(), name) for name in MATRICES]
    far = {}
    for draw in (heterogeneity._free, heterogeneity._separated):
        changes = np.asarray(draw(KEY, matrices, 12, 0.6, True)[3])
        far[draw] = np.max(norms(changes[:, None] - changes[None, :]))
    assert far[heterogeneity._separated] < 1 < far[heterogeneity._free]


def test_levels_for_each_matrix_and_another_scale():
    nominal = boeing()
    tasks = perturb(KEY, nominal, 4, [0.1, 0.0, 0.2, 0.0], scale=0.3)
    for name, level in zip(MATRICES, (0.1, 0.0, 0.2, 0.0), strict=True):
        changes = norms(np.asarray(getattr(tasks, name)) - np.asarray(getattr(nominal, name)))
        np.testing.assert_allclose(changes[1:], 0.3 * level, rtol=ROUNDING, atol=0)


def test_large_families_are_drawn_without_comparing_pairs():
    # The factor 0.499 keeps every pair nearer than the level, also antipodal ones.
    nominal = boeing()
    tasks = perturb(KEY, nominal, 100_000, LEVEL)
    for name in MATRICES:
        changes = norms(np.asarray(getattr(tasks, name)) - np.asarray(getattr(nominal, name)))
        np.testing.assert_allclose(changes[1:], 0.499 * LEVEL, rtol=ROUNDING)
    few = np.asarray(tasks.A[::1000])
    assert np.max(norms(few[:, None] - few[None, :])) < LEVEL
    assert np.min(norms(np.diff(np.asarray(tasks.A), axis=0))) > 1e-3 * LEVEL  # no two in a row are the same


def test_a_small_scale_draws_what_rejection_would():
    nominal = boeing()
    matrices = [getattr(nominal, name) for name in MATRICES]
    for first in (True, False):
        free = heterogeneity._free(KEY, matrices, 5, 0.4, first)
        separated = heterogeneity._separated(KEY, matrices, 5, 0.4, first)
        for one, other in zip(free, separated, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-13)  # rounding of two orders of one norm


def test_masks_say_where_and_how_much():
    nominal = boeing()
    rng = np.random.default_rng(1)
    masks = [rng.standard_normal(getattr(nominal, name).shape) for name in MATRICES]
    tasks = perturb(KEY, nominal, 30, LEVEL, masks=masks)
    sizes = []
    for name, mask in zip(MATRICES, masks, strict=True):
        change = np.asarray(getattr(tasks, name)) - np.asarray(getattr(nominal, name))
        size = np.sum(change * mask, axis=(1, 2)) / np.sum(mask**2)
        np.testing.assert_allclose(change, size[:, None, None] * mask, atol=1e-14)  # rounding of X + a Z
        assert size[0] == 0
        assert np.all((size[1:] > 0) & (size[1:] < LEVEL))
        assert size.max() > 0.7 * LEVEL  # 29 uniform draws: fails with probability 0.7^29 = 3e-5, and the key is fixed
        sizes.append(size)
    assert np.min(np.abs(sizes[0][1:] - sizes[1][1:])) > 0  # one number for each matrix
    everything = perturb(KEY, nominal, 5, LEVEL, masks=masks, include_nominal=False)
    assert np.all(norms(np.asarray(everything.A) - np.asarray(nominal.A)) > 0)


def test_same_key_same_tasks():
    first, again, other = (perturb(key, boeing(), 4, LEVEL).A for key in (KEY, KEY, jax.random.key(1)))
    np.testing.assert_array_equal(first, again)
    assert np.max(np.abs(first - other)) > 0.1 * LEVEL


def test_runs_under_jit_and_vmap():
    draw = partial(perturb, task=boeing(), num_tasks=3, level=LEVEL)
    keys = jax.random.split(KEY, 2)
    together = jax.jit(jax.vmap(draw))(keys)
    assert together.A.shape == (2, 3, 4, 4)
    for lane in range(2):
        # The same draws; compilation may round differently.
        np.testing.assert_allclose(together.A[lane], draw(keys[lane]).A, atol=1e-14)


def test_one_task_and_the_default_level_zero():
    np.testing.assert_array_equal(perturb(KEY, boeing(), 1, LEVEL).A[0], boeing().A)
    np.testing.assert_array_equal(perturb(KEY, boeing(), 3, 0.0).Q[2], boeing().Q)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_tasks": 0}, "num_tasks must be an integer of at least 1, got 0"),
        ({"scale": 1.0}, r"scale must lie in \(0, 1\).*got 1\.0"),
        ({"scale": 0.6, "num_tasks": 257}, "scale must be below 0.5 for more than 256 tasks, got 0.6 for 257"),
        ({"scale": 0.0}, r"scale must lie in \(0, 1\).*got 0\.0"),
        ({"masks": [jnp.eye(4)] * 3}, "masks must be four matrices of the shapes"),
        ({"masks": [jnp.eye(4)] * 4}, "masks must be four matrices of the shapes"),
    ],
)
def test_bad_arguments_are_refused(changes, message):
    arguments = {"num_tasks": 3, "level": LEVEL} | changes
    with pytest.raises(ValueError, match=message):
        perturb(KEY, boeing(), **arguments)
