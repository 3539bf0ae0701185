"""The command line, run for real: in process through main(), and twice as a process of its own."""

import json
import pathlib
import shlex
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr.cli import main
from jaxlqr.commands import train as experiment
from jaxlqr.papers.driver import Outcome, Paper, Part, Request, unchecked
from jaxlqr.papers.units import Units

FILES = ["gain.npz", "history.npz", "summary.json", "training.png"]
NOMINAL = "[nominal]\nA = [[1.1, 0.2], [0.0, 0.9]]\nB = [[0.0], [1.0]]\nR = [[0.5]]\n"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def gain_of(folder, name="K"):
    with np.load(folder / "gain.npz", allow_pickle=False) as arrays:
        return arrays[name]


@pytest.fixture(scope="module")
def systems(tmp_path_factory):
    """Three similar systems in a .npz, with a gain that is stabilising and far from optimal."""
    folder = tmp_path_factory.mktemp("systems")
    A = np.array([[1.1, 0.2], [0.0, 0.9]]) + 0.02 * np.random.default_rng(0).normal(size=(3, 2, 2))
    B = np.broadcast_to([[0.0], [1.0]], (3, 2, 1))
    np.savez(folder / "tasks.npz", A=A, B=B, K0=np.array([[2.0, 1.0]]))
    np.savez(folder / "without_gain.npz", A=A, B=B)
    return folder


@pytest.fixture(scope="module")
def exact(systems):
    """Result folder of one run with default options."""
    assert main(["train", "--tasks", str(systems / "tasks.npz"), "--out", str(systems / "exact"), "--quiet"]) == 0
    return systems / "exact"


def test_exact_training_improves_and_writes_everything(exact):
    assert names(exact) == FILES
    summary = summary_of(exact)
    assert summary["status"] == "COMPLETED"
    assert summary["advice"] is None
    assert summary["initial_gain"] == "tasks file"
    assert (summary["num_tasks"], summary["num_states"], summary["num_inputs"]) == (3, 2, 1)
    assert 0 < summary["gap_median"]["last"] < 0.1 * summary["gap_median"]["first"]
    assert summary["spectral_radius_max"]["last"] < 1
    assert set(summary["versions"]) == {"jaxlqr", "jax", "jaxlib", "numpy", "optax", "python"}
    with np.load(exact / "history.npz", allow_pickle=False) as history:
        assert history["gap"].shape == (201, 3)
        assert history["gap"].dtype == np.float64
        np.testing.assert_allclose(np.median(history["gap"][-1]), summary["gap_median"]["last"])


def test_written_gain_has_the_written_cost(exact, systems):
    tasks = jaxlqr.families.files.load_tasks(systems / "tasks.npz").tasks
    costs = [float(jaxlqr.cost(jnp.asarray(gain_of(exact)), task_of(tasks, i))) for i in range(3)]
    np.testing.assert_allclose(np.median(costs), summary_of(exact)["cost_median"]["last"], rtol=1e-12)
    np.testing.assert_array_equal(gain_of(exact, "K0"), [[2.0, 1.0]])
    summary = summary_of(exact)
    np.testing.assert_allclose(np.mean(costs), summary["cost_mean"]["last"], rtol=1e-12)
    np.testing.assert_allclose(np.max(costs), summary["cost_worst"]["last"], rtol=1e-12)
    objective = jaxlqr.maml_loss(
        jaxlqr.cost, jnp.asarray(gain_of(exact)), tasks, inner_step_size=summary["settings"]["inner_step"]
    )
    np.testing.assert_allclose(objective, summary["objective"]["last"], rtol=1e-12)
    assert summary["objective"]["last"] < summary["objective"]["first"]


def task_of(tasks, index):
    return jaxlqr.LQRTask(tasks.A[index], tasks.B[index], tasks.Q[index], tasks.R[index], tasks.Sigma0[index])


def test_chosen_steps_are_one_over_the_largest_eigenvalue(exact, systems):
    tasks = jaxlqr.families.files.load_tasks(systems / "tasks.npz").tasks
    K0 = jnp.array([[2.0, 1.0]])
    hessians = jax.jit(jax.vmap(lambda task: jax.hessian(lambda K: jaxlqr.cost(K, task))(K0)))(tasks)
    largest = np.max(np.linalg.eigvalsh(np.asarray(hessians).reshape(3, 2, 2)))
    summary = summary_of(exact)
    np.testing.assert_allclose(summary["settings"]["outer_step"], 1 / largest, rtol=1e-6)
    np.testing.assert_allclose(summary["settings"]["inner_step"], 0.1 / largest, rtol=1e-6)
    assert summary["steps_chosen_automatically"] == ["inner_step", "outer_step"]


def test_table_on_stdout_and_options_in_the_summary(exact, systems, capsys):
    out = systems / "continued"
    # Goes on from the gain of the first run, with the sizes and so the compiled loop of that run.
    options = ["--k0", str(exact / "gain.npz"), "--inner-step", "1e-3", "--outer-step", "2e-3", "--seed", "3"]
    assert main(["train", "--tasks", str(systems / "tasks.npz"), "--out", str(out), *options]) == 0
    printed = capsys.readouterr()
    assert "3 tasks, 200 steps: completed" in printed.out
    rows = ("mean cost after adaptation", "mean cost over", "worst task", "gap to each task's own optimum")
    assert [printed.out.index(row) for row in rows] == sorted(printed.out.index(row) for row in rows)
    assert f"wrote gain.npz, history.npz, training.png, summary.json to {out}" in printed.out
    assert "(chosen)" not in printed.out
    assert printed.err == ""
    summary = summary_of(out)
    assert (summary["settings"]["inner_step"], summary["settings"]["outer_step"]) == (1e-3, 2e-3)
    assert summary["settings"]["seed"] == 3
    assert summary["initial_gain"] == "gain file"
    np.testing.assert_array_equal(gain_of(out, "K0"), gain_of(exact))


def test_without_a_gain_training_starts_at_the_optimum_of_the_average(systems, capsys):
    out = systems / "average"
    assert main(["train", "--tasks", str(systems / "without_gain.npz"), "--out", str(out), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert summary_of(out)["initial_gain"] == "optimum of the average task"
    with np.load(systems / "without_gain.npz") as arrays:
        average = jaxlqr.make_task(arrays["A"].mean(axis=0), arrays["B"][0])
    np.testing.assert_allclose(gain_of(out, "K0"), jaxlqr.optimal_gain(average), rtol=1e-10)


def test_zeroth_order_from_toml_repeats_with_the_seed(tmp_path):
    (tmp_path / "t.toml").write_text(
        NOMINAL + "[perturbation]\nnum_tasks = 3\nlevel = [0.05, 0, 0, 0]\nmasks = { A = [[1, 0], [0, 1]] }\n"
        "[initial]\nK0 = [[2.0, 1.0]]\n"
    )
    options = ["train", "--tasks", str(tmp_path / "t.toml"), "--oracle", "zeroth-order", "--samples", "8", "--quiet"]
    for out, seed in {"a": 0, "b": 0, "c": 1}.items():
        assert main([*options, "--out", str(tmp_path / out), "--seed", str(seed)]) == 0
    summary = summary_of(tmp_path / "a")
    assert summary["gap_median"]["last"] < 0.2 * summary["gap_median"]["first"]
    assert summary["settings"]["oracle"] == "zeroth-order"
    np.testing.assert_array_equal(gain_of(tmp_path / "a"), gain_of(tmp_path / "b"))
    assert np.abs(gain_of(tmp_path / "a") - gain_of(tmp_path / "c")).max() > 0


def test_a_budget_of_queries_and_a_minibatch(systems, tmp_path, capsys):
    options = ["--oracle", "zeroth-order", "--samples", "8", "--inner-steps", "0", "--steps", "50"]
    options += ["--minibatch", "1", "--max-queries", "100"]
    assert main(["train", "--tasks", str(systems / "tasks.npz"), "--out", str(tmp_path / "o"), *options]) == 0
    summary = summary_of(tmp_path / "o")
    # 16 queries for the gradient of one task, and the cost of each of three tasks for the safeguard.
    assert (summary["steps_taken"], summary["queries"], summary["settings"]["steps"]) == (4, 95, 50)
    printed = capsys.readouterr().out
    assert "3 tasks, 4 steps: completed" in printed
    assert "objective: mean cost over tasks" in printed


def test_adam_first_order_from_a_csv_gain(systems, tmp_path, monkeypatch):
    (tmp_path / "k.csv").write_text("2.0,1.0\n")
    passed = {}

    def stop(loss, params, tasks, **options):
        passed.update(options, params=params)
        raise ValueError("far enough")

    monkeypatch.setattr(experiment, "meta_train", stop)
    options = ["--k0", str(tmp_path / "k.csv"), "--optimizer", "adam", "--first-order", "--inner-step", "0.5"]
    assert main(["train", "--tasks", str(systems / "tasks.npz"), "--out", str(tmp_path / "o"), *options]) == 2
    np.testing.assert_array_equal(passed["params"], [[2.0, 1.0]])
    assert passed["objective"] == jaxlqr.Maml(inner_step_size=0.5, first_order=True)
    # The first step of Adam has the length of its step size, whatever the gradient.
    optimizer = passed["optimizer"]
    update, _ = optimizer.update(np.array([[1e4]]), optimizer.init(np.zeros((1, 1))))
    np.testing.assert_allclose(passed["outer_step_size"] * update, -experiment.ADAM_STEP, rtol=1e-6)


def test_divergence_is_a_result_with_a_warning_and_exit_code_1(systems, tmp_path, capsys):
    options = ["--no-safeguard", "--outer-step", "10", "--inner-step", "1e-6", "--inner-steps", "0", "--steps", "5"]
    assert main(["train", "--tasks", str(systems / "tasks.npz"), "--out", str(tmp_path / "o"), *options]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("warning: the run ended DIVERGED: ")
    assert printed.err.count("\n") == 1
    assert names(tmp_path / "o") == FILES
    summary = summary_of(tmp_path / "o")
    assert summary["status"] == "DIVERGED"
    assert summary["cost_median"]["last"] is None  # infinite, which JSON has no word for


def test_interrupt_leaves_the_earlier_result_and_says_one_line(exact, systems, monkeypatch, capsys):
    before = {name: (exact / name).read_bytes() for name in FILES}

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "meta_train", interrupted)
    for out in (exact, systems / "never"):
        assert main(["train", "--tasks", str(systems / "tasks.npz"), "--out", str(out)]) == 130
        line = shlex.join(["jaxlqr", "train", "--tasks", str(systems / "tasks.npz"), "--out", str(out)])
        hint = "(--checkpoint-every N keeps states on the way)"
        said = f"interrupted: nothing half-written is left. Begin again with: {line} {hint}\n"
        assert capsys.readouterr() == ("", said)
    assert {name: (exact / name).read_bytes() for name in FILES} == before
    assert names(exact) == FILES
    assert not (systems / "never").exists()


def test_a_bug_keeps_its_traceback(systems, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise TypeError("a bug")

    monkeypatch.setattr(experiment, "meta_train", broken)
    with pytest.raises(TypeError, match="a bug"):
        main(["train", "--tasks", str(systems / "tasks.npz"), "--out", str(tmp_path / "o")])


def test_reproduce_calls_the_experiment(tmp_path, monkeypatch):
    calls = []
    fake = types.ModuleType("jaxlqr.papers.toso2024.reproduction")

    def found(request):
        calls.append(request)
        return Outcome({}, {}, {}, [])

    vars(fake)["PAPER"] = Paper("toso2024", {"all": Part(unchecked(found))})
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "toso2024", "--quick", "--out", str(tmp_path / "figures"), "--seeds", "2"]) == 0
    assert main(["reproduce", "toso2024"]) == 0
    units = [request.units for request in calls]
    assert all(isinstance(one, Units) for one in units)
    assert calls[0] == Request(True, 2, 0, None, None, tmp_path / "figures", units[0])
    assert calls[1] == Request(False, None, 0, None, None, pathlib.Path("toso2024"), units[1])
    assert names(tmp_path) == ["figures", "toso2024"]


def test_help_names_every_option_and_its_default(capsys):
    assert main(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for option in (
        "--tasks",
        "--out",
        "--k0",
        "--oracle",
        "--no-safeguard",
        "--first-order",
        "[default: 200]",
        "1 / L",
    ):
        assert option in text


def test_as_a_process(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "jaxlqr", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)

    # More inputs than states.
    np.savez(tmp_path / "t.npz", A=np.array([[[1.2]], [[1.1]]]), B=np.array([[[1.0, 0.5, 0.2]]] * 2))
    options = ["--steps", "3", "--inner-steps", "0", "--inner-step", "1e-3", "--outer-step", "1e-3"]
    done = run("train", "--tasks", "t.npz", "--out", "results", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 tasks, 3 steps: completed" in done.stdout
    assert gain_of(tmp_path / "results").shape == (3, 1)
    with np.load(tmp_path / "results" / "history.npz") as history:
        assert history["gap"].dtype == np.float64  # the command line, unlike the library, sets it
    failed = run("train", "--tasks", "absent.npz", "--out", "nowhere")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == "error: the tasks file absent.npz does not exist.\n"
    assert names(tmp_path) == ["results", "t.npz"]
