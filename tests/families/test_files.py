"""Tasks and gains from files."""

import jax
import numpy as np
import pytest

import jaxlqr
from jaxlqr.families.files import load_gain, load_tasks, parse_tasks

SYSTEM = {"A": [[0.9, 0.1], [0.0, 1.05]], "B": [[0.0], [1.0]]}


def test_npz_takes_costs_for_each_task_or_for_all(tmp_path):
    A, B = np.stack([0.5 * np.eye(2), 0.6 * np.eye(2)]), np.ones((2, 2, 1))
    Q = np.stack([np.eye(2), 2 * np.eye(2)])
    np.savez(tmp_path / "t.npz", A=A, B=B, Q=Q, R=np.array([[3.0]]), K0=np.zeros((1, 2)))
    tasks, K0 = load_tasks(tmp_path / "t.npz")
    assert K0 is not None
    for name, expected in {"A": A, "B": B, "Q": Q, "R": [[[3.0]], [[3.0]]], "Sigma0": [np.eye(2)] * 2}.items():
        np.testing.assert_array_equal(getattr(tasks, name), expected)
    assert K0.shape == (1, 2)


def test_npz_may_say_its_sampling_time(tmp_path):
    A, B = np.full((1, 1, 1), -0.5), np.ones((1, 1, 1))
    for Ts, dt in ((0.1, None), (0.0, 0.1)):
        np.savez(tmp_path / "t.npz", A=A, B=B, Ts=Ts)
        held = float(load_tasks(tmp_path / "t.npz", dt=dt).tasks.A[0, 0, 0])
        np.testing.assert_allclose(held, -0.5 if dt is None else np.exp(-0.05), rtol=1e-14)  # rounding
        with pytest.raises(ValueError, match="leave dt out" if dt is None else "give the sampling time dt"):
            load_tasks(tmp_path / "t.npz", dt=0.1 if dt is None else None)


def test_toml_equals_the_functions_it_names(tmp_path):
    (tmp_path / "t.toml").write_text(
        '[nominal]\nfamily = "boeing"\n[perturbation]\nnum_tasks = 3\nlevel = 0.01\nseed = 4\n[initial]\nK0 = "paper"\n'
    )
    tasks, K0 = load_tasks(tmp_path / "t.toml")
    expected = jaxlqr.families.perturb(jax.random.key(4), jaxlqr.families.boeing(), 3, 0.01)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), tasks, expected)
    np.testing.assert_array_equal(K0, jaxlqr.families.boeing_initial_gain())


def test_toml_variant_and_explicit_matrices():
    printed, K0 = parse_tasks({"nominal": {"family": "boeing", "variant": "printed"}})
    np.testing.assert_array_equal(printed.A[0], jaxlqr.families.boeing(variant="printed").A)
    assert K0 is None
    tasks, _ = parse_tasks({"nominal": {**SYSTEM, "Q": [[2, 0], [0, 2]], "Sigma0": [[1, 0], [0, 0]]}})
    assert tasks.Q[0].tolist() == [[2, 0], [0, 2]]
    assert tasks.Sigma0[0].tolist() == [[1, 0], [0, 0]]


def test_masks_that_are_not_given_are_zero():
    perturbation = {"num_tasks": 4, "level": [0.1, 0, 0, 0], "masks": {"A": [[1, 0], [0, 0]]}}
    tasks, _ = parse_tasks({"nominal": SYSTEM, "perturbation": perturbation})
    change = np.asarray(tasks.A) - np.asarray(SYSTEM["A"])
    assert np.count_nonzero(change) == 3  # task 0 is the nominal one
    assert 0 < change[:, 0, 0].max() <= 0.1
    np.testing.assert_array_equal(tasks.R, np.ones((4, 1, 1)))


PERTURBATION = {"num_tasks": 2, "level": 0.1}
BAD_DOCUMENTS = {
    "empty": ({}, r"must have a table \[nominal\]"),
    "table name": ({"nominal": SYSTEM, "perturbations": {}}, "unknown key 'perturbations' .* mean 'perturbation'"),
    "not a table": ({"nominal": "boeing"}, "nominal must be a table"),
    "empty table": ({"nominal": {}}, "must name a family"),
    "no B": ({"nominal": {"A": [[1.0]]}}, "must have B, got A"),
    "family": ({"nominal": {"family": "airbus"}}, "unknown family 'airbus'"),
    "variant": ({"nominal": {"family": "boeing", "variant": "x"}}, "variant must be"),
    "family and A": ({"nominal": {"family": "boeing", "A": [[1.0]]}}, "unknown key 'A'"),
    "case": ({"nominal": {**SYSTEM, "sigma0": [[1.0]]}}, "did you mean 'Sigma0'"),
    "ragged": ({"nominal": {"A": [[1.0, 2.0], [3.0]], "B": [[1.0]]}}, r"\[nominal\]: A must be a real matrix"),
    "key": ({"nominal": SYSTEM, "perturbation": {**PERTURBATION, "num_task": 3}}, "did you mean 'num_tasks'"),
    "no level": ({"nominal": SYSTEM, "perturbation": {"num_tasks": 3}}, "must have level"),
    "zero tasks": ({"nominal": SYSTEM, "perturbation": {**PERTURBATION, "num_tasks": 0}}, "integer of at least 1"),
    "half a task": ({"nominal": SYSTEM, "perturbation": {**PERTURBATION, "num_tasks": 2.5}}, "must be an integer"),
    "boolean": ({"nominal": SYSTEM, "perturbation": {**PERTURBATION, "num_tasks": True}}, "must be an integer"),
    "seed": ({"nominal": SYSTEM, "perturbation": {**PERTURBATION, "seed": -1}}, "seed .* at least 0"),
    "level": ({"nominal": SYSTEM, "perturbation": {**PERTURBATION, "level": -0.1}}, "level .* must be one number"),
    "three levels": ({"nominal": SYSTEM, "perturbation": {**PERTURBATION, "level": [1, 2, 3]}}, "must be one number"),
    "level word": ({"nominal": SYSTEM, "perturbation": {**PERTURBATION, "level": "low"}}, "must be real numbers"),
    "nominal flag": ({"nominal": SYSTEM, "perturbation": {**PERTURBATION, "include_nominal": 1}}, "true or false"),
    "mask shape": (
        {"nominal": SYSTEM, "perturbation": {**PERTURBATION, "masks": {"A": [[1.0]]}}},
        "masks must be four",
    ),
    "mask key": ({"nominal": SYSTEM, "perturbation": {**PERTURBATION, "masks": {"Z": 1}}}, "unknown key 'Z'"),
    "masks": ({"nominal": SYSTEM, "perturbation": {**PERTURBATION, "masks": 1}}, "masks must be a table"),
    "gain": ({"nominal": SYSTEM, "initial": {"K0": [1.0, 2.0]}}, "K0 .* must be a finite matrix"),
    "gain word": ({"nominal": SYSTEM, "initial": {"K0": "paper"}}, "must be real numbers"),
    "gain key": ({"nominal": SYSTEM, "initial": {"K": [[1.0]]}}, "did you mean 'K0'"),
}


@pytest.mark.parametrize("case", BAD_DOCUMENTS)
def test_bad_documents(case):
    document, message = BAD_DOCUMENTS[case]
    with pytest.raises(ValueError, match=message):
        parse_tasks(document)


def test_a_perturbation_that_is_too_large_names_the_task():
    with pytest.raises(ValueError, match=r"task 1: R must be positive definite"):
        parse_tasks(
            {
                "nominal": SYSTEM,
                "perturbation": {"num_tasks": 2, "level": [0, 0, 0, 100], "seed": 1, "masks": {"R": [[-1]]}},
            }
        )


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".txt"])
def test_gain_files(tmp_path, suffix):
    gain, path = np.array([[1.5, -2.0], [0.25, 1e-8]]), tmp_path / f"gain{suffix}"
    if suffix == ".npy":
        np.save(path, gain)
    elif suffix == ".npz":
        np.savez(path, K=gain, K0=0 * gain)
    else:
        np.savetxt(path, gain, delimiter=",")
    np.testing.assert_allclose(load_gain(path), gain, rtol=1e-15)


def test_a_gain_of_one_row_in_csv_is_a_row(tmp_path):
    (tmp_path / "k.csv").write_text("1, 2, 3\n")
    assert load_gain(tmp_path / "k.csv").shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("k.csv", "a,b\n", "not a comma-separated matrix"),
        ("k.csv", "1,2\n3\n", "not a comma-separated matrix"),
        ("k.csv", "1,nan\n", "must be a finite matrix"),
        ("k.npy", "no array", "cannot be read as a NumPy file"),
        ("k.npz", "", "cannot be read as a NumPy file"),
    ],
)
def test_bad_gain_files(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_gain(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_gain_archive_without_gain(tmp_path):
    np.savez(tmp_path / "k.npz", A=np.eye(2))
    with pytest.raises(ValueError, match="must hold an array K or K0, got A"):
        load_gain(tmp_path / "k.npz")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_gain(tmp_path / "absent.npy")
    with pytest.raises(ValueError, match="is a folder"):
        load_gain(tmp_path)
