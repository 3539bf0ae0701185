"""The package runs where the user has forbidden implicit promotion of dtypes, ``jax_numpy_dtype_promotion=strict``."""

import json

import jax
import pytest

from jaxlqr.cli import main
from tests.eager_calls import ROOMS
from tests.test_eager_calls import QUICK


@pytest.mark.parametrize("room", QUICK)
def test_public_functions_promote_nothing(room):
    calls = ROOMS[room][1]()
    with jax.numpy_dtype_promotion("strict"):
        for name in QUICK[room]:
            calls[name]()


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_no_public_function_promotes(room):
    calls = ROOMS[room][1]()
    with jax.numpy_dtype_promotion("strict"):
        for call in calls.values():
            call()


def test_train_runs_in_strict_promotion(tmp_path, capsys):
    tasks = tmp_path / "family.toml"
    nominal = "[nominal]\nA = [[1.0, 0.2], [0.0, 1.1]]\nB = [[0.0], [0.5]]\n"
    tasks.write_text(nominal + "[perturbation]\nnum_tasks = 2\nlevel = 0.01\n", encoding="utf-8")
    with jax.numpy_dtype_promotion("strict"):
        code = main(["train", "--tasks", str(tasks), "--out", str(tmp_path / "run"), "--steps", "2", "--json"])
    assert code == 0
    assert json.loads(capsys.readouterr().out)["status"] == "COMPLETED"
