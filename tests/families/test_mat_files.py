"""Systems in MATLAB's files, as COMPleib's are: read when they are good, refused in one sentence when they are not."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import scipy.io
import scipy.signal
import scipy.sparse

import jaxlqr
from jaxlqr.families import load_tasks, mat_files
from tests.test_fuzz import FEW, MANY, mutants

# AC4 of COMPleib (Leibfritz, 2004), to the digits printed there: a missile, open-loop unstable.
A = np.array(
    [[-0.876, 1.0, -0.1209, 0.0], [8.9117, 0.0, -130.75, 0.0], [0.0, 0.0, -150.0, 0.0], [-1.0, 0.0, 0.0, -0.05]]
)
B1 = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
B = np.array([[0.0], [0.0], [150.0], [0.0]])
C = np.array([[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0]])
PLANT = {"A": A, "B1": B1, "B": B, "C1": C, "C": C, "D11": np.zeros((2, 2)), "nx": 4.0, "ex": "AC4"}
DT = 0.01


def saved(folder, variables, **options):
    path = folder / "plant.mat"
    scipy.io.savemat(path, variables, **options)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_a_system_of_compleib(tmp_path, compressed):
    tasks, K0 = load_tasks(saved(tmp_path, PLANT, do_compression=compressed), dt=DT)
    held = scipy.signal.cont2discrete((A, B, C, np.zeros((2, 1))), DT)
    np.testing.assert_allclose(tasks.A[0], held[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(tasks.B[0], held[1], rtol=1e-12, atol=1e-13)
    assert K0 is None
    task = jaxlqr.make_task(tasks.A[0], tasks.B[0])
    assert (
        float(jaxlqr.spectral_radius(jaxlqr.optimal_gain(task), task))
        < 1
        < float(np.max(np.abs(np.linalg.eigvals(tasks.A[0]))))
    )


def test_names_of_inputs_costs_and_gain(tmp_path):
    costs = {"Q": np.diag([1.0, 2, 3, 4]), "R": [[2.0]], "K0": np.ones((1, 4))}
    tasks, K0 = load_tasks(saved(tmp_path, {"A": 0.1 * np.eye(4), "B1": B1, "B2": B, "B": 2 * B, "Ts": 0.1, **costs}))
    np.testing.assert_array_equal(tasks.B[0], 2 * B)  # B before B2
    np.testing.assert_array_equal(tasks.Q[0], costs["Q"])
    assert K0.shape == (1, 4)
    tasks, _ = load_tasks(saved(tmp_path, {"A": 0.1 * np.eye(4), "B1": B1, "B2": B, "Ts": -1.0}))
    np.testing.assert_array_equal(tasks.B[0], B)


def test_what_changes_nothing_is_passed_over(tmp_path):
    neutral = {"E": np.eye(4), "N": np.zeros((4, 1)), "S": 7 * np.eye(4), "D": np.ones((2, 1)), "e": -np.ones((4, 1))}
    plain, _ = load_tasks(saved(tmp_path, PLANT), dt=DT)
    tasks, _ = load_tasks(saved(tmp_path, PLANT | neutral), dt=DT)  # S of [K, S, e] = lqr(...) is no cross term
    for mine, other in zip((tasks.A, tasks.B, tasks.Q), (plain.A, plain.B, plain.Q), strict=True):
        np.testing.assert_array_equal(mine, other)


TYPES = ["f8", "f4", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "bool"]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (3, 4), (0, 2)])
def test_matrices_are_read_as_scipy_reads_them(tmp_path, shape, compressed):
    rng = np.random.default_rng(0)
    variables = {f"full_{name}": rng.integers(0, 100, shape).astype(name) for name in TYPES}
    holes = (rng.random(shape) < 0.5) * rng.standard_normal(shape)
    variables |= {"sparse": scipy.sparse.csc_array(holes), "nothing": scipy.sparse.csc_array(0 * holes)}
    path = saved(
        tmp_path, variables | {"text": "abc", "cell": np.array([[1.0, "x"]], object)}, do_compression=compressed
    )
    expected, found = scipy.io.loadmat(path), mat_files.read_mat(path, tuple(variables))
    assert found.keys() == variables.keys()
    for name, value in found.items():
        reference = expected[name].toarray() if scipy.sparse.issparse(expected[name]) else expected[name]
        np.testing.assert_array_equal(value, reference, err_msg=name)
        assert value.dtype == float


def cells(*matrices):
    """A cell array of one row."""
    row = np.empty((1, len(matrices)), object)
    for number, matrix in enumerate(matrices):
        row[0, number] = matrix
    return row


@pytest.mark.parametrize("compressed", [False, True])
def test_several_systems_as_arrays_with_three_axes_or_as_cells(tmp_path, compressed):
    stack = np.stack([0.5 * np.eye(4), A / 1500, np.diag([0.1, 0.2, 0.3, 0.4])])
    Q = np.stack([np.eye(4) * k for k in (1, 2, 3)])
    for variables in (
        {"A": np.moveaxis(stack, 0, 2), "B": B, "Q": cells(*Q)},
        {"A": cells(*stack), "B": cells(B, B, B), "Q": np.moveaxis(Q, 0, 2)},
        {"A": cells(*stack).T, "B": np.stack([B] * 3, axis=2), "Q": cells(*Q).T},
    ):
        tasks, _ = load_tasks(saved(tmp_path, variables | {"Ts": 0.1}, do_compression=compressed))
        for found, expected in ((tasks.A, stack), (tasks.B, np.stack([B] * 3)), (tasks.Q, Q)):
            np.testing.assert_array_equal(found, expected)


REFUSED = {
    "descriptor": ({"A": A, "B": B, "E": np.diag([1.0, 5, 1, 1])}, r"the file has E, the descriptor .*save E\\A as A"),
    "singular descriptor": ({"A": A, "B": B, "E": scipy.sparse.csc_array((4, 4))}, "the file has E, the descriptor"),
    "complex descriptor": ({"A": A, "B": B, "E": 1j * np.eye(4)}, "E must be a real matrix"),
    "cells of descriptors": ({"A": A, "B": B, "E": np.array([[2 * np.eye(4)]], object)}, "the file has E"),
    "cross term": ({"A": A, "B": B, "N": np.ones((4, 1))}, "the file has N, the cross term"),
    "cross term of SciPy": ({"A": A, "B": B, "S": np.ones((4, 1))}, "the file has S, the cross term"),
    "Ts NaN": ({"A": A, "B": B, "Ts": np.nan}, "Ts must be one sampling time, .*got nan"),
    "Ts infinite": ({"A": A, "B": B, "Ts": np.inf}, "Ts must be one sampling time, .*got inf"),
    "Ts negative": ({"A": A, "B": B, "Ts": -0.1}, "Ts must be one sampling time, .*got -0.1"),
    "Ts complex": ({"A": A, "B": B, "Ts": 0.1 + 1j}, "Ts must be a real matrix, .*got complex"),
    "Ts text": ({"A": A, "B": B, "Ts": "auto"}, "Ts must be a real matrix, .*got text"),
    "Ts empty": ({"A": A, "B": B, "Ts": np.zeros((0, 0))}, r"Ts must be one sampling time, .*got \[\]"),
    "Ts several": ({"A": A, "B": B, "Ts": [0.1, 0.2]}, r"Ts must be one sampling time, .*got \[0.1, 0.2\]"),
    "no A": ({"B": B}, "must have A, got B"),
    "no input": ({"A": A, "C": C}, "must have B, got A"),
    "disturbances only": ({"A": A, "B1": B1}, "B1 only, the input of disturbances"),
    "text": ({"A": "matrix", "B": B}, "A must be a real matrix"),
    "struct": ({"A": {"x": 1.0}, "B": B}, "A must be a real matrix"),
    "cell of text": ({"A": cells(A, "x"), "B": B}, "A must be a cell array of full real matrices, .* in cell 1"),
    "cell of cells": ({"A": cells(cells(A)), "B": B}, "A must be a cell array of full real matrices"),
    "cell of sparse": ({"A": cells(scipy.sparse.csc_array(A)), "B": B}, "of full real matrices"),
    "cell of shapes": ({"A": cells(A, A[:2, :2]), "B": B}, r"of one shape, got \(2, 2\) and \(4, 4\)"),
    "empty cell": ({"A": np.empty((0, 0), object), "B": B}, "cell array of 1 to 100000 matrices, got 0 cells"),
    "four axes": ({"A": np.ones((2, 2, 2, 2)), "B": B}, "A must be a real matrix, .*got an array with 4 axes"),
    "counts": ({"A": cells(A, A), "B": cells(B, B, B)}, r"with one matrix for each of M tasks, got \(2, 4, 4\) and"),
    "complex": ({"A": 1j * A, "B": B}, "A must be a real matrix"),
    "discrete and dt": ({"A": A, "B": B, "Ts": 0.1}, "has a sampling time Ts, .*leave dt out"),
    "NaN": ({"A": np.nan * A, "B": B}, "task 0: A must be finite"),
    "shape": ({"A": A, "B": np.ones((3, 1))}, r"task 0: B must have shape \[4, m\]"),
    "no samples": ({"A": A, "B": B}, "task 0: .*dt must be a positive"),
    "sparse and huge": ({"A": scipy.sparse.csc_array((10**6, 10**6)), "B": B}, "A must be small enough to be a full"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_systems_are_refused_with_one_sentence(tmp_path, case):
    variables, message = REFUSED[case]
    path = saved(tmp_path, variables)
    with pytest.raises(ValueError, match=message) as caught:
        load_tasks(path, dt=-1.0 if case == "no samples" else DT)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_continuous_time_is_not_taken_for_discrete(tmp_path):
    for variables in (PLANT, PLANT | {"Ts": 0.0}):
        with pytest.raises(
            ValueError,
            match=r"in continuous time, .*dt of a zero-order hold, such as 0\.1, or, .*as Ts in",
        ):
            load_tasks(saved(tmp_path, variables))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a MATLAB file"),
        (b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(600), "version 7.3, which is HDF5"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "version 7.3, which is HDF5"),
        (bytes(124) + b"\x00\x01IM" + struct.pack("<II", 14, 2**31), "truncated or corrupt"),
    ],
)
def test_files_of_another_kind(tmp_path, content, message):
    (tmp_path / "plant.mat").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_tasks(tmp_path / "plant.mat")


def test_a_file_that_swells_is_refused_before_it_does(tmp_path, monkeypatch):
    monkeypatch.setattr(mat_files, "_MOST_BYTES", 2**20)
    bomb = zlib.compress(bytes(2**26), 9)
    path = tmp_path / "plant.mat"
    path.write_bytes(bytes(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(bomb)) + bomb)
    tracemalloc.start()
    with pytest.raises(ValueError, match="holds more than 1048576 bytes"):
        load_tasks(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23
    path.write_bytes(bytes(2**21))
    with pytest.raises(ValueError, match="larger than 1048576 bytes"):
        load_tasks(path)


def test_continuous_time_in_other_files(tmp_path):
    np.savez(tmp_path / "plants.npz", A=A[None], B=B[None])
    held, _ = load_tasks(tmp_path / "plants.npz", dt=DT)
    document = f"[nominal]\nA = {A.tolist()}\nB = {B.tolist()}\ndt = {DT}\n"
    (tmp_path / "family.toml").write_text(document)
    tasks, _ = load_tasks(tmp_path / "family.toml")
    np.testing.assert_array_equal(tasks.A, held.A)
    with pytest.raises(ValueError, match=r"write dt = 0.1 in its table \[nominal\]"):
        load_tasks(tmp_path / "family.toml", dt=0.1)
    (tmp_path / "family.toml").write_text(document.replace(f"dt = {DT}", 'dt = "soon"'))
    with pytest.raises(ValueError, match=r"\[nominal\]: dt must be a number"):
        load_tasks(tmp_path / "family.toml")


def fuzz(folder, count):
    read, messages = 0, []
    variables = {
        "A": 0.5 * np.eye(3),
        "B": scipy.sparse.csc_array(np.ones((3, 1))),
        "Q": np.eye(3),
        "Ts": 1.0,
        "C": {"x": [1.0]},
    }
    for compressed in (False, True):
        path = saved(folder, variables, do_compression=compressed)
        for data in mutants(path.read_bytes(), count // 2, seed=compressed):
            path.write_bytes(data)
            try:
                tasks, _ = load_tasks(path)
                assert np.all(np.isfinite(tasks.A))
                read += 1
            except ValueError as error:
                messages.append(str(error))
    assert not [message for message in messages if "\n" in message]
    assert min(read, len(messages)) > count // 100  # both happen, or nothing was tested


def test_mutated_files(tmp_path):
    fuzz(tmp_path, FEW)


@pytest.mark.slow
def test_many_mutated_files(tmp_path):
    fuzz(tmp_path, MANY)
