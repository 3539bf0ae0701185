"""The sweep command: what it computes, what it keeps, and what it says."""

import json
import tomllib

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

import jaxlqr
from jaxlqr.cli import main
from jaxlqr.commands import sweep as experiment
from jaxlqr.commands.sweep import parse_spec, train
from jaxlqr.commands.sweep.schema import COLUMNS, SETTINGS
from jaxlqr.commands.sweep.spec import AXES
from jaxlqr.training import loop
from tests.pictures import coloured_pixels

SPEC = """
batch = 4

[nominal]
A = [[1.05, 0.2], [0.0, 0.9]]
B = [[0.3], [1.0]]

[perturbation]
num_tasks = 3

[initial]
K0 = [[0.5, 0.5]]

[settings]
steps = 3
oracle = "zeroth-order"
samples = 4
inner_step = 1e-4

[grid]
level = [0.001, 3.0]
outer_step = [1e-3, 2e-3]
seed = [0, 7]
"""


@pytest.fixture(scope="module")
def spec_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("spec") / "sweep.toml"
    path.write_text(SPEC)
    return path


@pytest.fixture(scope="module")
def whole(spec_file):
    out = spec_file.parent / "whole"
    assert main(["sweep", str(spec_file), "--out", str(out), "--quiet"]) == 0
    return out


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_all_batches_and_later_sweeps_share_one_program(tmp_path, optimizer):
    first = SPEC.replace("steps = 3", f'steps = 3\noptimizer = "{optimizer}"')
    (tmp_path / "first.toml").write_text(first.replace("[0, 7]", "[1]"))
    (tmp_path / "second.toml").write_text(first.replace("2e-3", "3e-3").replace("0.001", "0.002"))
    assert main(["sweep", str(tmp_path / "first.toml"), "--out", str(tmp_path / "first"), "--quiet"]) == 0
    programs = (loop._chunk, loop._initial_state, train._draw, train._feasible)
    before = [program._cache_size() for program in programs]
    assert main(["sweep", str(tmp_path / "second.toml"), "--out", str(tmp_path / "second"), "--quiet"]) == 0
    assert [program._cache_size() for program in programs] == before


def columns_of(folder, *, but=("seconds",)):
    columns = pq.read_table(folder / "results.parquet").to_pydict()
    return {name: values for name, values in columns.items() if name not in but}


def test_a_row_is_what_meta_train_gives(whole):
    columns = columns_of(whole)
    assert columns["run"] == list(range(8))
    assert columns["outer_step"] == [1e-3, 1e-3, 2e-3, 2e-3] * 2
    task = jaxlqr.make_task([[1.05, 0.2], [0.0, 0.9]], [[0.3], [1.0]])
    run = 3  # level 0.001, outer step 2e-3, seed 7
    result = jaxlqr.meta_train(
        jaxlqr.cost,
        np.array([[0.5, 0.5]]),
        jaxlqr.families.perturb(jax.random.key(0), task, 3, level=0.001),
        num_steps=3,
        objective=jaxlqr.Maml(inner_step_size=1e-4),
        outer_step_size=2e-3,
        oracle=jaxlqr.ZerothOrderOracle(num_samples=4, radius=1e-2),
        key=jax.random.key(7),
        output=jaxlqr.Output(progress=False),
    )
    # The two are compiled for batches of other sizes, and the oracle divides the rounding of costs by the radius.
    np.testing.assert_allclose(columns["gain"][run], result.params.ravel(), rtol=1e-9)
    np.testing.assert_allclose(columns["gap_last"][run], np.median(result.history["gap"][-1]), rtol=1e-6)
    np.testing.assert_allclose(columns["gap_first"][run], np.median(result.history["gap"][0]), rtol=1e-9)


def test_a_run_with_an_infeasible_start_spoils_no_other(whole):
    columns = columns_of(whole)
    assert columns["feasible_start"] == [True] * 4 + [False] * 4
    assert columns["status"] == ["COMPLETED"] * 4 + ["STALLED"] * 4
    assert np.all(np.isfinite(columns["gap_last"][:4]))


def test_the_schema_is_documented(whole):
    schema = pq.read_schema(whole / "results.parquet")
    assert set(COLUMNS) < set(schema.names)
    assert all(schema.field(name).metadata[b"description"] for name in schema.names)
    assert json.loads(schema.metadata[b"gain_shape"]) == [1, 2]


WHOLE_NUMBERS = """
batch = 2

[nominal]
A = [[0.9]]
B = [[1.0]]

[perturbation]
num_tasks = 2

[settings]
steps = 2
outer_step = 1e-3

[grid]
level = [0, 0.01]
inner_step = [1, 1e-3]
task_seed = [0, 1]
"""


def test_whole_numbers_among_the_values_of_an_axis_end_with_a_table(tmp_path, monkeypatch):
    path, out = tmp_path / "sweep.toml", tmp_path / "out"
    path.write_text(WHOLE_NUMBERS)
    options = ["sweep", str(path), "--out", str(out), "--quiet"]
    assert main(options) == 0
    schema, columns = pq.read_schema(out / "results.parquet"), columns_of(out)
    assert {str(schema.field(name).type) for name in ("level", "inner_step")} == {"double"}
    assert columns["level"] == [0, 0, 0, 0, 0.01, 0.01, 0.01, 0.01]
    assert columns["status"] == ["COMPLETED"] * 8

    # An earlier version inferred the types for each batch, and could not join the tables.
    (out / "results.parquet").unlink()
    store = experiment.SweepStore(out, experiment.load_spec(path))
    first = store.read(0)
    place = first.schema.get_field_index("level")
    inferred = first.set_column(place, pa.field("level", pa.int64()), first.column("level").cast(pa.int64()))
    with monkeypatch.context() as patched:
        patched.setattr(experiment.SweepStore, "_table", lambda *_: inferred)
        store.write(0, {})
    assert "int64" in {str(pq.read_schema(part).field("level").type) for part in (out / "parts").iterdir()}
    assert experiment.read(out).table.column("level").to_pylist() == columns["level"]
    monkeypatch.delattr(experiment, "train_batch")  # nothing is left to train
    assert main([*options, "--resume"]) == 0
    assert pq.read_schema(out / "results.parquet") == schema
    assert columns_of(out) == columns


def test_every_axis_has_a_type():
    assert set(AXES) <= set(SETTINGS)


def test_a_sweep_with_lost_and_damaged_parts_resumes_to_the_same_table(spec_file, whole, tmp_path):
    out = tmp_path / "out"
    assert main(["sweep", str(spec_file), "--out", str(out), "--quiet"]) == 0
    (out / "results.parquet").unlink()
    lost, damaged = sorted((out / "parts").iterdir())
    lost.unlink()
    content = bytearray(damaged.read_bytes())
    content[len(content) // 3] ^= 1
    damaged.write_bytes(content)
    with pytest.warns(RuntimeWarning, match=r"is damaged: .* done again"):
        assert main(["sweep", str(spec_file), "--out", str(out), "--quiet", "--resume"]) == 0
    assert repr(columns_of(out)) == repr(columns_of(whole))  # all bits, and NaN is NaN


def test_checkpoints_within_a_batch_are_used(spec_file, whole, tmp_path, monkeypatch):
    out = tmp_path / "out"
    options = ["sweep", str(spec_file), "--out", str(out), "--quiet", "--checkpoint-every", "2", "--resume"]
    with monkeypatch.context() as patched:
        patched.setattr(experiment.SweepStore, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt("killed.")))
        assert main(options) == 130
    assert (out / "parts" / "00000.steps" / "run.json").exists()
    assert main(options) == 0
    assert not list((out / "parts").glob("*.steps"))
    # In chunks of another length the same steps are compiled anew.
    for name, values in columns_of(whole).items():
        if name in ("gain", "gap_last", "cost_last"):
            np.testing.assert_allclose(columns_of(out)[name], values, rtol=1e-9)


def test_status_and_plot(whole, capsys):
    assert main(["sweep", "--status", str(whole)]) == 0
    assert capsys.readouterr().out == "8 of 8 runs done (4 completed, 4 stalled); finished\n"
    assert main(["sweep", "--plot", str(whole)]) == 0
    assert coloured_pixels(whole / "sweep.png") > 100


def test_the_figure_shows_medians_of_the_runs_that_completed(whole):
    columns = columns_of(whole)
    figure = experiment.sweep_figure(columns, ["level", "outer_step", "seed"])
    level, step = figure.axes
    assert (level.get_xlabel(), step.get_xlabel()) == ("level", "outer step")
    assert level.get_lines()[0].get_xdata().tolist() == [0.001]
    np.testing.assert_allclose(step.get_lines()[0].get_ydata()[0], np.median(columns["gap_last"][:2]))
    assert "4 of them failed" in figure.get_suptitle()
    assert (level.get_xscale(), step.get_xscale()) == ("linear", "log")  # factors matter for step sizes


def test_an_empty_batch_is_not_compiled_for(spec_file):
    spec = parse_spec(tomllib.loads(SPEC) | {"batch": 3})
    assert [len(batch) for batch in spec.batches()] == [3, 3, 2]


def test_what_is_not_traced_gets_a_batch_of_its_own():
    document = tomllib.loads(SPEC) | {"grid": {"seed": [0, 1], "samples": [4, 8]}}
    del document["settings"]["samples"]
    spec = parse_spec(document)
    assert [[spec.values(run)["samples"] for run in batch] for batch in spec.batches()] == [[4, 4], [8, 8]]


def test_a_random_search_draws_each_axis_by_itself():
    ranges = {"level": {"low": 1e-4, "high": 1e-2, "scale": "log"}, "seed": {"low": 0, "high": 9}}
    document = {name: value for name, value in tomllib.loads(SPEC).items() if name != "grid"}
    both = parse_spec(document | {"random": {"num_runs": 50, "ranges": ranges}})
    alone = parse_spec(document | {"random": {"num_runs": 50, "ranges": {"level": ranges["level"]}}})
    levels = [both.values(run)["level"] for run in range(50)]
    assert levels == [alone.values(run)["level"] for run in range(50)]
    assert 1e-4 <= min(levels) < 3e-4 < 3e-3 < max(levels) <= 1e-2
    assert {both.values(run)["seed"] for run in range(50)} <= set(range(10))


def test_two_sweeps_in_one_folder(spec_file, whole, capsys):
    with FileLock(whole / ".lock"):
        assert main(["sweep", str(spec_file), "--out", str(whole), "--resume"]) == 2
    assert "another process works in" in capsys.readouterr().err


GRID = SPEC[SPEC.index("[grid]") :]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[grid]", "[gird]", "unknown key 'gird' in the file; did you mean 'grid'?"),
        ("seed = [0, 7]", "sed = [0]", "unknown key 'sed' in [grid]; did you mean 'seed'?"),
        ("seed = [0, 7]", "seed = []", "seed in [grid] must be a list of values, got []"),
        ("seed = [0, 7]", "seed = [1, 1]", "must not repeat a value"),
        ("seed = [0, 7]", "seed = [0.5]", "seed must be of type int, like 0, got 0.5"),
        ("seed = [0, 7]", "steps = [3]", "steps is an axis and in [settings]; give it once"),
        ("seed = [0, 7]", 'oracle = ["magic"]', "oracle is an axis and in [settings]"),
        ("level = [0.001, 3.0]", "level = [0.001, -1.0]", "level must be finite and not negative"),
        ("num_tasks = 3", "num_tasks = 3\nlevel = 0.1", "is also the axis level; give it once"),
        ("num_tasks = 3", "num_tasks = 0", "num_tasks in [perturbation] must be an integer of at least 1"),
        ("batch = 4", "batch = 0", "batch must be a positive integer"),
        ("K0 = [[0.5, 0.5]]", "K0 = [[-9.0, 0.5]]", "K0 must stabilise"),
        ("steps = 3", 'steps = "3"', "steps must be of type int"),
        (GRID, "", "must have one of the tables [grid] and [random]"),
        (GRID, "[random]\nnum_runs = 0", "num_runs in [random] must be an integer from 1"),
        (GRID, "[random]\nnum_runs = 2", "must have a table [random.ranges]"),
        (GRID, "[random]\nnum_runs = 2\nranges.level = {low = 2.0, high = 1.0}", "low must be below high for level"),
        (GRID, "[random]\nnum_runs = 2\nranges.samples = {low = 2, high = 3}", "unknown key 'samples'"),
    ],
)
def test_bad_specs(tmp_path, capsys, old, new, message):
    path = tmp_path / "sweep.toml"
    assert old in SPEC
    path.write_text(SPEC.replace(old, new))
    assert main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert message in told, told
    assert "sweep.toml" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of: a sweep file"),
        (["SPEC"], "give the folder of the sweep"),
        (["SPEC", "--out", "WHOLE"], "holds a sweep; resume it"),
        (["OTHER", "--out", "WHOLE", "--resume"], "holds a sweep, which differs in settings, sha256; resume with"),
        (["SPEC", "--out", "new", "--num-processes", "2", "--process-id", "0"], "belong to a coordinator"),
        (["SPEC", "--out", "new", "--coordinator", "localhost:1", "--num-processes", "2"], "give both or neither"),
        (["--status", "."], "holds no sweep"),
        (["--plot", "."], "holds no sweep"),
        (["missing.toml", "--out", "new"], "the sweep file missing.toml does not exist"),
    ],
)
def test_bad_commands(spec_file, whole, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.toml").write_text(SPEC.replace("steps = 3", "steps = 4"))
    places = {"SPEC": str(spec_file), "WHOLE": str(whole), "OTHER": "other.toml"}
    assert main(["sweep", *(places.get(word, word) for word in arguments)]) == 2
    assert message in capsys.readouterr().err
