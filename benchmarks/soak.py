"""Soak: the commands train, sweep and landscape over and over in one process, which must neither grow nor compile.

    python benchmarks/soak.py [--minutes 20] [--write]

Each round draws other tasks, trains on them with checkpoints, sweeps and maps a landscape, all into a folder that is
then removed. After the warm-up, the first fifth of the time and ten rounds, memory may grow by 2 % and no program may
be compiled; otherwise the exit code is 1. ``--write`` puts the numbers into docs/benchmarks/scale.md and the plot into
docs/figures/soak.png. Linux only: resident memory is read from /proc, after the C library was asked to return what is
free: fragments between live blocks are not memory that the program holds on to.
"""

import argparse
import ctypes
import gc
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from timing import DOCS, markdown, replace_between
from tqdm.auto import tqdm

from jaxlqr.commands.landscape import LandscapeSettings, landscape
from jaxlqr.commands.sweep import sweep
from jaxlqr.commands.train import TrainSettings, train

jax.config.update("jax_enable_x64", True)
SYSTEM = "[nominal]\nA = [[1.05, 0.2], [0.0, 0.9]]\nB = [[0.3], [1.0]]\n"
DRAW = "[perturbation]\nnum_tasks = 3\nlevel = 0.01\nseed = {seed}\n"
SWEEP = "batch = 4\n" + SYSTEM + "[perturbation]\nnum_tasks = 3\n[initial]\nK0 = [[0.5, 0.5]]\n"
SWEEP += "[settings]\nsteps = 20\noracle = 'zeroth-order'\noptimizer = 'adam'\nsamples = 4\ninner_step = 1e-4\n"
SWEEP += "[grid]\nlevel = [0.001, 0.01]\nouter_step = [1e-3, {step}]\nseed = [{seed}, {other}]\n"
WARM, FEWEST, ALLOWED = 0.2, 10, 0.02  # of the time and rounds, at least, before memory is compared; of memory


class Soaked(NamedTuple):
    """One entry for each round: when it ended [s], resident bytes and programs compiled so far."""

    seconds: np.ndarray
    resident: np.ndarray
    programs: np.ndarray

    def told(self) -> dict[str, Any]:
        """Growth after the warm-up: of memory from the median of its first tenth to that of its last, of programs."""
        steady = (self.seconds >= WARM * self.seconds[-1]) & (np.arange(len(self.seconds)) >= FEWEST)
        if not steady.any():
            raise ValueError(f"{len(self.seconds)} rounds do not outlast the warm-up; soak for longer.")
        memory, programs = self.resident[steady], self.programs[steady]
        tenth = max(1, len(memory) // 10)
        first, last = np.median(memory[:tenth]), np.median(memory[-tenth:])
        return {
            "rounds": len(self.seconds),
            "minutes": float(self.seconds[-1] / 60),
            "resident": float(last),
            "growth": float(last / first - 1),
            "programs": int(programs[-1]),
            "new_programs": int(programs[-1] - programs[0]),
        }


def resident_bytes() -> int:
    """Resident memory of this process, after what is free went back to the system: what the program holds on to."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def one_round(folder: Path, number: int) -> None:
    """Every long-running command once, on tasks of this round."""
    tasks, spec = folder / "tasks.toml", folder / "sweep.toml"
    tasks.write_text(SYSTEM + DRAW.format(seed=number))
    spec.write_text(SWEEP.format(seed=2 * number, other=2 * number + 1, step=1e-3 / (number + 2)))
    settings = TrainSettings(steps=40, oracle="zeroth-order", samples=4, checkpoint_every=20)
    train(tasks, folder / "trained", settings, progress=False)
    sweep(spec, folder / "swept", progress=False)
    small = LandscapeSettings(resolution=24, starts=8, steps=20, inner_step=1e-4)
    landscape(tasks, folder / "landscape", settings=small, progress=False)


def soak(minutes: float, progress: bool = True) -> Soaked:
    """Rounds until the time is over."""
    made = [0]

    def count(name: str, duration: float, **_: Any) -> None:
        if name == "/jax/core/compile/backend_compile_duration":  # also for programs found in a persistent cache
            made[0] += 1

    jax.monitoring.register_event_duration_secs_listener(count)  # type: ignore[arg-type]  # older JAX calls it without metadata
    rows = []
    began = time.perf_counter()
    with tqdm(total=round(60 * minutes), unit="s", disable=not progress) as bar:
        for number in itertools.count():
            with tempfile.TemporaryDirectory() as folder:
                one_round(Path(folder), number)
            now = time.perf_counter() - began
            rows.append((now, resident_bytes(), made[0]))
            bar.set_postfix(MiB=rows[-1][1] >> 20, programs=made[0], refresh=False)
            bar.update(min(round(now), bar.total) - bar.n)
            if now >= 60 * minutes:
                break
    return Soaked(*(np.array(column) for column in zip(*rows, strict=True)))


def draw(found: Soaked) -> None:
    from jaxlqr.plots import new_figure, style

    with style():
        figure, axes = new_figure(num_rows=1, num_columns=2)
        for ax, rows, label in (
            (axes[0, 0], found.resident / 2**20, "resident memory, MiB"),
            (axes[0, 1], found.programs, "programs compiled"),
        ):
            ax.plot(found.seconds / 60, rows)
            ax.axvspan(0, WARM * found.seconds[-1] / 60, color="0.9", label="warm-up")
            ax.set_xlabel("minutes")
            ax.set_ylabel(label)
            ax.set_ylim(0, 1.1 * rows.max())
            ax.legend(loc="lower right")
    figure.savefig(DOCS / "figures" / "soak.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    found = soak(given.minutes)
    told = found.told()
    text = markdown(
        ["minutes", "rounds", "resident memory, MiB", "growth after warm-up", "programs", "new after warm-up"],
        [[f"{told['minutes']:.1f}", f"{told['rounds']:,}", f"{told['resident'] / 2**20:.0f}",
          f"{100 * told['growth']:+.2f} %", str(told["programs"]), str(told["new_programs"])]],
    )  # fmt: skip
    print(text)
    if given.write:
        replace_between(DOCS / "benchmarks" / "scale.md", "soak", text)
        draw(found)
    if told["growth"] > ALLOWED or told["new_programs"]:
        sys.exit("memory or the number of compiled programs grew")


if __name__ == "__main__":
    main()
