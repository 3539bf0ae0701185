"""Settings of the test session: float64, strict promotion; both are undone by nothing, so tests stay comparable."""

import gc
import os
import signal
from contextlib import nullcontext
from pathlib import Path

import jax
import jaxtyping
import pytest

# The compiler takes most of the time of these tests, and a third of it without optimising. XLA reads the flags when the
# first program is compiled. Another value, if only an empty one, stays: .ci/full tests what users run.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0")

jax.config.update("jax_enable_x64", True)
# An accidental [n] + [n, 1] or float32 + float64 is a bug in library code.
jax.config.update("jax_numpy_rank_promotion", "raise")

# Tests raise SIGINT as a terminal does. A shell starts what is in the background with SIGINT ignored, and a process
# that is started by a test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
