"""How TOW's weights are found on images: what is compared is what it says, and the figure shows it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.cli import main
from jaxlqr.papers.nguyen2023 import images_ablation, images_ablation_figure
from jaxlqr.papers.nguyen2023.images import NUM_TASKS, STRETCH
from jaxlqr.papers.nguyen2023.images_ablation import LOOK, ImagesAblation


def made_up(seeds=3, looks=2):
    rng = np.random.default_rng(0)
    names = ("uniform", *images_ablation.TRAINED)
    return ImagesAblation(
        curves={name: rng.uniform(0.2, 0.6, size=(seeds, looks + 1)) for name in names},
        seconds={name: np.arange(looks + 1.0) * (2 if name == "uniform" else 3) for name in names},
        decreases={name: rng.uniform(size=(seeds, LOOK * looks)) for name in images_ablation.TRAINED},
        ways={name: rng.uniform(size=(seeds, 3)) for name in images_ablation.WAYS},
        fixed=rng.uniform(size=(4, STRETCH, NUM_TASKS)),
        losses=rng.uniform(size=(4, NUM_TASKS)),
    )


def test_told_are_medians_and_paired_differences():
    found = made_up()
    told = images_ablation.told(found)
    assert told["updates"] == 2 * LOOK * STRETCH
    for name in images_ablation.TRAINED:
        ahead = 100 * (found.curves[name] - found.curves["uniform"])[:, -1]
        half = 4.30265273 * ahead.std(ddof=1) / np.sqrt(3)  # Student's t, two degrees of freedom
        one = told["results"][name]
        np.testing.assert_allclose(one["ahead_of_uniform"]["mean"], ahead.mean(), rtol=1e-12)
        np.testing.assert_allclose(one["ahead_of_uniform"]["high"] - ahead.mean(), half, rtol=1e-6)
        assert one["seconds_over_uniform"] == 1.5
    for name, rows in found.ways.items():
        assert told["ways"][name]["cosine"] == np.median(rows[:, 1])


def test_figure_shows_every_way_and_every_fixed_task():
    found = made_up()
    summary = {"num_seeds": 3, "num_params_of_ways": 62, **images_ablation.told(found)}
    axes = images_ablation_figure.draw(found, summary).axes
    assert [len(ax.lines) for ax in axes] == [4, 4, 2 * len(images_ablation.WAYS), NUM_TASKS + 1]


def test_data_are_checked_before_any_work(tmp_path, capsys):
    arguments = ["--part", "images-ablation", "--data", str(tmp_path / "absent"), "--out", str(tmp_path / "out")]
    assert main(["reproduce", "nguyen2023", *arguments]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_small_network_is_small_enough_for_full_matrices():
    state = jax.eval_shape(lambda: images_ablation.start(images_ablation.SMALL, jax.random.key(0)))
    floats = sum(leaf.size for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating))
    assert floats == 3 * images_ablation.SMALL.network.num_params + 1  # parameters, m, v, and the length of the steps
    assert floats < 200


@pytest.mark.slow
def test_quick_ablation_on_digits_lowers_the_objective(tmp_path):
    arguments = ["--part", "images-ablation", "--quick", "--seeds", "1", "--out", str(tmp_path)]
    assert main(["reproduce", "nguyen2023", *arguments]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())["images-ablation"]
    for way in summary["ways"].values():
        assert way["decrease_of_objective"] > 0
    assert summary["ways"]["Gram gradient"]["cosine"] > 0.999
    assert summary["results"]["Gram gradient, 1 direction"]["decrease_of_objective"] > 0
