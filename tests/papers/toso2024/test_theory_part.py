"""``jaxlqr reproduce toso2024 --part theory``: gap against heterogeneity, errors of the estimates."""

import json

import numpy as np
import pytest

from jaxlqr.cli import main
from jaxlqr.papers.toso2024 import theory_heterogeneity, theory_samples
from jaxlqr.papers.toso2024.theory_heterogeneity import LEVELS, Heterogeneity


def test_slopes_and_intervals():
    gap = 3 * LEVELS[:, None] ** 2 * np.array([[1.0, 2.0]])
    found = Heterogeneity(gap, None, 10 * gap, 20 * gap, 1e-3, np.ones_like(gap))
    told = found.summary()
    assert told["optimum"]["slope"] == pytest.approx({"mean": 2.0, "low": 2.0, "high": 2.0})
    np.testing.assert_allclose(told["bound_7_over_gap"], 20)
    assert told["always_a_strict_minimum"]


def test_samples_that_fall_as_the_root_of_their_number():
    counts = 2 ** np.arange(2, 13)
    errors = np.broadcast_to(2 / np.sqrt(counts), (2, 50, len(counts)))
    by_radius = np.ones((2, 2, len(theory_samples.RADII), 50))
    by_radius[:, :, 4] = 0.5
    levels = np.geomspace(1e-2, 3, 40)
    samples = theory_samples.Samples(
        counts, errors, by_radius, np.array([0.1, 0.1]), {"corrected": (levels, np.stack([5 / levels**2] * 2))}
    )
    told = samples.summary()["gradient"]
    assert told["slope"] == pytest.approx(-0.5)
    assert told["samples_measured"] == pytest.approx(400)
    assert told["samples_predicted"]["corrected"] == pytest.approx(500)
    assert told["good_radii"]["rollouts"] == [theory_samples.RADII[4]] * 2


def test_an_unknown_part_is_refused(tmp_path, capsys):
    assert main(["reproduce", "toso2024", "--part", "figure2", "--out", str(tmp_path / "out")]) == 2
    assert "unknown part 'figure2' of toso2024; known are figure1, theory" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_quick_run_writes_what_it_promises(tmp_path):
    out = tmp_path / "out"
    assert main(["reproduce", "toso2024", "--part", "theory", "--quick", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"heterogeneity.png", "samples.png", "theory.npz", "theory.json"}
    content = json.loads((out / "theory.json").read_text())
    for told in content["heterogeneity"].values():
        assert 1.9 < told["optimum"]["slope"]["mean"] < 2.1
        assert told["always_a_strict_minimum"]
        assert min(told["bound_6_over_gap"]) > 1
        assert min(told["bound_7_over_gap"]) > 1
    for name in theory_samples.ESTIMATES:
        told = content["samples"][name]
        assert -0.6 < told["slope"] < -0.4
        assert told["samples_measured"] < told["samples_predicted"]["corrected"]
        # Exact queries have no variance that grows as the radius falls: the theory's radius is as good as any other.
        low, high = told["good_radii"]["exact queries"]
        assert low < 1e-5 < high
        assert told["good_radii"]["rollouts"][0] > 0.01
    assert content["settings"]["num_tasks"] == theory_heterogeneity.NUM_TASKS
