"""The constants of the theory do not depend on how the tasks are spread over devices."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
from jaxlqr.families import perturb
from jaxlqr.papers.toso2024 import theory
from jaxlqr.training.sharding import make_mesh, shard_tasks
from tests.training.setting import START, TASKS

tasks = perturb(jax.random.key(0), jax.tree.map(lambda leaf: leaf[0], TASKS), num_tasks=16, level=0.01)
mesh = make_mesh()
assert mesh.size == 8
plain, spread = theory.constants(START, tasks), theory.constants(START, shard_tasks(tasks, mesh))
for name, value in plain._asdict().items():
    # Maxima and minima over tasks, each compiled for another number of them.
    np.testing.assert_allclose(getattr(spread, name), value, rtol=1e-12, err_msg=name)
"""


@pytest.mark.slow
def test_constants_of_tasks_on_eight_devices_are_those_on_one():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=os.environ | flags, cwd=root, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
