"""The soak, shortened: neither memory nor the number of compiled programs grows (benchmarks/soak.py)."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "soak.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_train_sweep_and_landscape_neither_grow_nor_compile():
    command = [sys.executable, str(SCRIPT), "--minutes", "1.8"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stdout + finished.stderr[-2000:]
