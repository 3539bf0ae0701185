"""Linear systems in files of NumPy and MATLAB."""

import jax
import numpy as np
import pytest
import scipy.io

from jaxlqr import systems
from jaxlqr.families import load_system, save_system

PLANT = systems.ss([[0.0, 1.0], [-2.0, -0.5]], [[0.0], [1.0]], [[1.0, 0.0]], [[0.1]], inputs=["force"])
SAMPLED = systems.sample(PLANT, 0.1)


@pytest.mark.parametrize("system", [PLANT, SAMPLED], ids=["continuous", "discrete"])
@pytest.mark.parametrize("ending", [".npz", ".mat"])
def test_a_system_comes_back(tmp_path, system, ending):
    path = tmp_path / f"plant{ending}"
    save_system(path, system)
    again = load_system(path)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(again), jax.tree.leaves(system))
    assert again.is_discrete == system.is_discrete
    assert again.inputs == (("force",) if ending == ".npz" else None)
    if ending == ".mat":
        assert scipy.io.loadmat(path)["A"].shape == (2, 2)


def test_what_matlab_saves(tmp_path):
    path = tmp_path / "plant.mat"
    scipy.io.savemat(path, {"A": np.eye(2), "B": np.ones((2, 1)), "Ts": -1.0, "other": "text"})
    assert float(load_system(path).dt) == 1
    scipy.io.savemat(path, {"A": np.eye(2), "B": np.ones((2, 1)), "E": np.eye(2)})
    assert load_system(path).dt is None


def test_mistakes_get_one_sentence(tmp_path):
    good, path = {"A": np.eye(2), "B": np.ones((2, 1))}, tmp_path / "plant.npz"
    for arrays, message in (
        ({"A": np.eye(2)}, "must hold A and B, got no B"),
        (good | {"E": 2 * np.eye(2)}, "descriptor matrix"),
        (good | {"Ts": np.ones(2)}, "Ts must be one sampling time"),
        (good | {"C": np.ones((1, 3))}, r"C must have shape \[p, 2\]"),
        (good | {"Ts": -3.0}, "dt must be a positive"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=f"plant.npz: .*{message}") as caught:
            load_system(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="cannot be read as a NumPy file"):
        load_system(path)
    with pytest.raises(ValueError, match=r"must end in \.npz or \.mat"):
        save_system(tmp_path / "plant.txt", PLANT)
    with pytest.raises(ValueError, match="must be one system, got a stack"):
        save_system(path, systems.stack_systems([PLANT, PLANT]))
