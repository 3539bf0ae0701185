"""Results as tables of pandas and data sets of xarray: same numbers, named axes, and the extra when it is missing."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import SolveStatus, TrainingResult
from jaxlqr.commands.sweep import read
from jaxlqr.core.optional import MissingExtraError
from jaxlqr.io.tables import Variable, to_pandas
from tests.commands.test_sweep import SPEC
from tests.training.setting import ORIGIN, POINTS, train_quartic

RUNS = 2


@pytest.fixture(scope="module")
def results():
    many = train_quartic(params=jnp.stack([ORIGIN, 2 * ORIGIN]), tasks=jnp.stack([POINTS, POINTS + 0.1]), batched=True)
    return {"one": train_quartic(), "many": many}


def test_a_history_as_a_table(results):
    result = results["one"]
    table = result.to_pandas()
    assert table.index.names == ["step", "task"]
    assert set(table.columns) == {*result.history, "status"}
    assert len(table) == 13 * 3
    loss, norm = np.asarray(result.history["loss"]), np.asarray(result.history["gradient_norm"])
    assert table.loc[(5, 2), "loss"] == loss[5, 2]
    assert table.loc[(5, 2), "gradient_norm"] == table.loc[(5, 0), "gradient_norm"] == norm[5]
    np.testing.assert_array_equal(table["loss"].unstack("task"), loss)
    assert set(table["status"]) == {"COMPLETED"}


def test_runs_are_a_level_of_the_index(results):
    table = results["many"].to_pandas()
    assert table.index.names == ["run", "step", "task"]
    assert table.loc[(1, 4, 2), "loss"] == results["many"].history["loss"][1, 4, 2]
    with_one_bad = TrainingResult(
        params=jnp.zeros(RUNS),
        history={"loss": jnp.ones((RUNS, 3))},
        status=jnp.array([SolveStatus.COMPLETED, SolveStatus.STALLED]),
    )
    assert with_one_bad.to_pandas()["status"].loc[1].unique().tolist() == ["STALLED"]


def test_without_tasks_the_index_is_the_step():
    task = jaxlqr.make_task([[1.1]], [[1.0]])
    result = jaxlqr.policy_gradient(
        jaxlqr.cost, jnp.array([[0.5]]), task, num_steps=3, step_size=0.02, output=jaxlqr.Output(progress=False)
    )
    table = result.to_pandas()
    assert table.index.name == "step"
    np.testing.assert_array_equal(table["gap"], result.history["gap"])


def test_a_history_as_a_data_set(results):
    for name, lead in (("one", ()), ("many", ("run",))):
        result = results[name]
        data = result.to_xarray()
        assert data["loss"].dims == (*lead, "step", "task")
        assert data["gradient_norm"].dims == (*lead, "step")
        assert data["params"].dims == (*lead, "params_0")
        assert data["status"].dims == lead
        for entry, rows in result.history.items():
            np.testing.assert_array_equal(data[entry], rows)
        np.testing.assert_array_equal(data["params"], result.params)
    assert data["loss"].sel(step=12, task=1, run=0) == results["many"].history["loss"][0, 12, 1]


def test_trees_of_parameters_are_named_by_their_paths():
    params = {"layer": [jnp.ones((2, 3)), jnp.zeros(3)]}
    result = TrainingResult(
        params=params, history={"loss": jnp.ones((4, 1))}, status=jnp.asarray(SolveStatus.COMPLETED)
    )
    data = result.to_xarray()
    assert data["params['layer'][0]"].shape == (2, 3)
    assert data["params['layer'][1]"].shape == (3,)
    assert list(result.to_pandas().columns) == ["loss", "status"]


def test_a_table_has_no_other_axes():
    with pytest.raises(ValueError, match=r"axes step, got also \['layer'\]; use to_xarray"):
        to_pandas({"x": Variable(("step", "layer"), np.ones((2, 2)))}, ("step",))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    from jaxlqr.commands import sweep

    folder = tmp_path_factory.mktemp("swept")
    (folder / "sweep.toml").write_text(SPEC)
    sweep.sweep(folder / "sweep.toml", folder / "out", progress=False)
    return folder / "out"


def test_a_sweep_as_table_and_data_set(swept):
    found = read(swept)
    table, data = found.to_pandas(), found.to_xarray()
    assert table.index.name == "run"
    assert found.axes == ("level", "outer_step", "seed")
    assert dict(data.sizes) == {"level": 2, "outer_step": 2, "seed": 2, "input": 1, "state": 2}
    for _, row in table.iterrows():
        point = data.sel(level=row["level"], outer_step=row["outer_step"], seed=row["seed"])
        assert point["status"] == row["status"]
        np.testing.assert_array_equal(point["cost_last"], row["cost_last"])
        np.testing.assert_array_equal(point["gain"].values.ravel(), row["gain"])


def test_a_part_of_a_sweep_has_runs_for_its_axis(swept):
    from dataclasses import replace

    found = read(swept)
    part = replace(found, table=found.table.slice(0, 5)).to_xarray()
    assert dict(part.sizes) == {"run": 5, "input": 1, "state": 2}
    np.testing.assert_array_equal(part["level"], found.to_pandas()["level"][:5])


def test_nothing_to_read(tmp_path):
    with pytest.raises(ValueError, match="holds no sweep"):
        read(tmp_path)


@pytest.mark.parametrize("package", ["pandas", "xarray"])
def test_the_extra_is_named(results, swept, monkeypatch, package):
    found = read(swept)
    monkeypatch.setitem(sys.modules, package, None)
    for result in (results["one"], found):
        with pytest.raises(MissingExtraError, match=rf"needs {package}; .*pip install 'jaxlqr\[tables\]'"):
            getattr(result, f"to_{package}")()
