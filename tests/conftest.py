"""Settings of the test session: float64, strict promotion; both are undone by nothing, so tests stay comparable."""

import gc
import os
import shutil
import signal
import tempfile
from contextlib import nullcontext
from pathlib import Path

import jax
import jaxtyping
import pytest

from tests.slow_cases import reasons

# The compiler takes most of the time of these tests, and a third of it without optimising. XLA reads the flags when the
# first program is compiled. Another value, if only an empty one, stays: .ci/full tests what users run.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0")

# What one process of this session compiles the others read: the workers of pytest-xdist, and the commands that tests
# run, which inherit these variables. Another folder, or an empty name for none, stays.
_SETTINGS = {
    "JAX_COMPILATION_CACHE_DIR": "",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0.1,  # to write a program takes 5 ms
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": -1,
}
_CACHE = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _CACHE = _SETTINGS["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jaxlqr-tests-")
    for _name, _value in _SETTINGS.items():
        os.environ[_name] = str(_value)
        jax.config.update(_name.lower(), _value)  # JAX has read its own variables when it was imported

jax.config.update("jax_enable_x64", True)
# An accidental [n] + [n, 1] or float32 + float64 is a bug in library code.
jax.config.update("jax_numpy_rank_promotion", "raise")

# Tests raise SIGINT as a terminal does. A shell starts what is in the background with SIGINT ignored, and a process
# that is started by a test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure():
    """The process that made the folder of compiled programs removes it."""
    if _CACHE is not None:
        shutil.rmtree(_CACHE, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what -m does not choose
def pytest_collection_modifyitems(items):
    """Marks what tests/slow_cases.py names."""
    names = reasons()
    for item in items:
        reason = names.get(item.nodeid) or names.get(item.nodeid.partition("[")[0])
        if reason is not None:
            item.add_marker(pytest.mark.slow(reason=reason))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """The tests of one file go to one worker, which compiles once what they share."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log) if config.getvalue("dist") == "load" else None


@pytest.fixture(autouse=True)
def _on_a_cpu(request):
    """A test marked ``cpu`` computes on the CPU where there is an accelerator, too."""
    with jax.default_device(jax.devices("cpu")[0]) if request.node.get_closest_marker("cpu") else nullcontext():
        yield


# Linux lets a process have 65530 memory maps, and each compiled program takes several: far into a session the compiler
# would be refused one, and crash.
_MAPS, _MOST_MAPS = Path("/proc/self/maps"), 20_000


@pytest.fixture(autouse=True, scope="module")
def _programs_are_dropped_in_time():
    yield
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def unchecked():
    """Annotations are not executed: for what a function itself says to arguments that its annotation rules out."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
