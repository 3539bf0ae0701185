"""Public functions called without jit compile at their first call only, and leave no memory behind."""

import gc
import inspect
import os
from pathlib import Path

import jax
import pytest

from tests.eager_calls import ROOMS

# What does not compute with JAX: readers of files and data sets, and checks.
EXEMPT = {
    "load_tasks",
    "load_gain",
    "load_system",
    "save_system",
    "from_gymnasium",
    "digits",
    "omniglot",
    "omniglot_runs",
    "omniglot_split",
    "no_metrics",
    "record_for",
    "within_ball",
    "register_in_pytensor",
}
# Of each mechanism one that compiles quickly; the slow test calls all of them.
QUICK = {
    "matrix_equations": ("continuous_gramian_trace",),
    "systems": ("feedback", "zeros", "frequency_response"),
    "lqr": ("cost", "vmap of cost", "RolloutCost"),
    "meta": ("maml_loss", "maml_gradient", "maml_gradient of a local function"),
    "mdp": ("meta_gradient", "optimal_policy", "simulate"),
    "oracles": ("ZerothOrderOracle", "ExactOracle"),
    "weighting": ("exploration",),
    "families": ("perturb",),
}
_STATM = Path("/proc/self/statm")
_compilations = [0]


def _count(name: str, _: float, **__) -> None:
    _compilations[0] += name.endswith("backend_compile_duration")


jax.monitoring.register_event_duration_secs_listener(_count)


def compilations(call, times: int) -> int:
    before = _compilations[0]
    for _ in range(times):
        jax.block_until_ready(call())
    return _compilations[0] - before


def resident() -> int:
    """Bytes of memory that this process holds."""
    gc.collect()
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def assert_all_are_called(module, calls) -> None:
    """Every public function of the module has a call, by its name."""
    public = {name for name, value in inspect.getmembers(module, inspect.isfunction) if name[0] != "_"}
    own = {name for name in public if getattr(module, name).__module__.startswith(module.__name__)}
    called = {name.partition(",")[0].partition(" ")[0] for name in calls}
    assert own <= called | EXEMPT


def assert_second_calls_compile_nothing(calls, names) -> None:
    for name in names:
        compilations(calls[name], 1)
        assert compilations(calls[name], 2) == 0, name


def assert_calls_compile_once_and_keep_nothing(calls) -> None:
    for name, call in calls.items():
        compilations(call, 10)
        before = resident() if _STATM.exists() else 0
        assert compilations(call, 200) == 0, name
        # 200 compilations leave 200 MB and more; results and allocators move by a few.
        assert not _STATM.exists() or resident() - before < 30e6, name


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_function_has_a_call(room):
    module, calls = ROOMS[room]
    assert_all_are_called(module, calls())


@pytest.mark.parametrize("room", QUICK)
def test_a_second_call_compiles_nothing(room):
    assert_second_calls_compile_nothing(ROOMS[room][1](), QUICK[room])


def test_the_count_sees_compilations():
    assert compilations(lambda: jax.jit(lambda x: x + 1)(1.0), 2) == 2


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_no_public_function_compiles_again_or_keeps_memory(room):
    assert_calls_compile_once_and_keep_nothing(ROOMS[room][1]())
