"""Checkpoints of a run. Orbax writes and reads them; here they get one owner, a fingerprint, and checksums.

A folder belongs to one run:

    run.json               what is computed, as a fingerprint; a resumed run must be the same
    100/, 200/, ...        orbax checkpoints of the state after so many steps, and the history up to there
    checksums-100.json     SHA-256 of every file of a checkpoint, written last: without it, a checkpoint is unfinished
    .lock                  held by the process at work; the system lets go of it when the process dies
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlqr.disk import write_whole

_LOCK, _RUN, _STATE, _HISTORY = ".lock", "run.json", "state", "history"


class CheckpointError(ValueError):
    """Checkpoints that cannot be used: another run's, in use, or not writable."""


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Where :func:`jaxlqr.meta_train` keeps checkpoints, how often, and whether it goes on from them.

    Attributes:
        folder: a folder of this run's own.
        every: steps between two checkpoints; the last step gets one, too. None for one only where a signal (SIGINT,
            which is Ctrl-C, or SIGTERM) stops the run.
        resume: go on from the newest sound checkpoint, or begin if there is none. Without it a folder that holds
            checkpoints is refused, so that none is lost by mistake.
        keep: how many checkpoints are kept; an older one serves when a newer one is damaged.

    A resumed run ends with the same bits as an uninterrupted one. The number of steps may be larger than before.

    >>> Checkpoints(folder="run", every=0)
    Traceback (most recent call last):
    ValueError: every must be a positive integer, the steps between two checkpoints, got 0.
    """

    folder: str | Path
    every: int | None = None
    resume: bool = False
    keep: int = 2

    def __post_init__(self) -> None:
        for name, what in (("every", "the steps between two checkpoints"), ("keep", "the checkpoints that are kept")):
            value = getattr(self, name)
            if not ((isinstance(value, int) and value >= 1) or (name == "every" and value is None)):
                raise ValueError(f"{name} must be a positive integer, {what}, got {value!r}.")

    @contextmanager
    def open(self, fingerprint: Mapping[str, Any]) -> "Iterator[Keeper]":
        """Lock the folder for the run that ``fingerprint`` (of JSON values) describes.

        Raises:
            CheckpointError: when another process works there, the checkpoints are another run's, or ``resume`` is off
                and there are some.
        """
        folder = Path(self.folder).absolute()
        keeper = Keeper(folder, self.keep)
        with ExitStack() as stack:

            def take_over() -> None:
                if _is_first():
                    stack.enter_context(locked(folder))
                stack.callback(keeper.close)
                if keeper.steps and not self.resume:
                    raise CheckpointError(
                        f"{self.folder} holds checkpoints of a run, the last after step {keeper.steps[-1]}; resume it, "
                        "or choose another folder."
                    )
                keeper.claim(fingerprint)

            # A folder that may never be needed is not made.
            if self.every is None and not holds_checkpoints(folder):
                keeper.before_saving = take_over
            else:
                take_over()
            yield keeper


class Saved(NamedTuple):
    """What a checkpoint holds: the leaves of the state, the history, and the steps taken."""

    leaves: list[np.ndarray]
    history: dict[str, np.ndarray]
    step: int


class Keeper:
    """Reads and writes the checkpoints of a locked folder; see :meth:`Checkpoints.open`."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self.before_saving: Callable[[], None] | None = None  # called once

    @cached_property
    def _orbax(self) -> Any:
        import orbax.checkpoint as ocp  # takes seconds: most runs neither write nor read a checkpoint

        return ocp

    @cached_property
    def _manager(self) -> Any:
        options = self._orbax.CheckpointManagerOptions(enable_async_checkpointing=False, create=True)
        with _explained(self._folder, "opened"):
            return self._orbax.CheckpointManager(
                self._folder, item_handlers=self._orbax.StandardCheckpointHandler(), options=options
            )

    @property
    def steps(self) -> list[int]:
        """Steps of the finished checkpoints, ascending."""
        if not holds_checkpoints(self._folder):
            return []
        return sorted(step for step in self._manager.all_steps() if self._checksums(step).exists())

    def claim(self, fingerprint: Mapping[str, Any]) -> None:
        """Write what is computed here, or compare it with what was."""
        path = self._folder / _RUN
        if self.steps:
            try:
                known = json.loads(path.read_text())
            except (OSError, ValueError):
                known = {}
            differing = sorted(k for k in {*known, *fingerprint} if known.get(k) != fingerprint.get(k))
            if differing:
                raise CheckpointError(
                    f"the checkpoints in {self._folder} are those of another run, which differs in "
                    f"{', '.join(differing)}; choose another folder, or the settings of that run."
                )
        elif _is_first():
            with _explained(self._folder, "written"):
                write_whole(path, json.dumps(dict(fingerprint), indent=2).encode())

    def restore(self) -> Saved | None:
        """The newest sound checkpoint, None if there is none. Damaged ones are set aside, with a warning."""
        for step in reversed(self.steps):
            fault = self._fault(step)
            if fault is None:
                tree = self._manager.restore(step, args=self._orbax.args.StandardRestore())
                return Saved([np.asarray(leaf) for leaf in tree[_STATE]], dict(tree[_HISTORY]), step)
            earlier = [other for other in self.steps if other < step]
            warnings.warn(
                f"the checkpoint after step {step} in {self._folder} is damaged ({fault}); "
                + (f"going on from step {earlier[-1]}." if earlier else "beginning anew."),
                RuntimeWarning,
                stacklevel=2,
            )
        return None

    def save(self, step: int, leaves: list[Any], history: Mapping[str, np.ndarray]) -> None:
        """Write the checkpoint after ``step``, and forget the oldest ones once it is sound."""
        if self.before_saving is not None:
            self.before_saving()
            self.before_saving = None
        with _explained(self._folder, "written", self.steps):
            if step in self._manager.all_steps():  # damaged, or never finished
                self._forget(step)
            tree = {_STATE: [np.asarray(leaf) for leaf in leaves], _HISTORY: dict(history)}
            self._manager.save(step, args=self._orbax.args.StandardSave(tree))
            if _is_first():
                write_whole(self._checksums(step), json.dumps(self._digests(step)).encode())
            for old in self.steps[: -self._keep]:
                self._forget(old)

    def close(self) -> None:
        if "_manager" in vars(self):
            self._manager.close()

    def _forget(self, step: int) -> None:
        if _is_first():
            self._checksums(step).unlink(missing_ok=True)
        self._manager.delete(step)

    def _checksums(self, step: int) -> Path:
        return self._folder / f"checksums-{step}.json"

    def _digests(self, step: int) -> dict[str, str]:
        root = self._folder / str(step)
        digests = {}
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                digests[path.relative_to(root).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())  # the checksums must not reach the disk before what they vouch for
        return digests

    def _fault(self, step: int) -> str | None:
        try:
            expected, found = json.loads(self._checksums(step).read_text()), self._digests(step)
        except (OSError, ValueError) as error:
            return str(error)
        wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        return f"{wrong[0]} is not what was written" if wrong else None


def holds_checkpoints(folder: Path) -> bool:
    """Whether some checkpoint in the folder was finished."""
    return any(folder.glob("checksums-*.json"))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, which is made if need be, against every other process.

    Raises:
        CheckpointError: when another process holds it, or it cannot be made.
    """
    from filelock import FileLock, Timeout

    with _explained(folder, "opened"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise CheckpointError(
                f"another process works in {folder}; wait for it, stop it, or choose another folder."
            ) from None
    try:
        yield
    finally:
        lock.release()


def digest(tree: Any) -> str:
    """SHA-256 of all arrays of a pytree, of their shapes and dtypes, and of its structure."""
    from jaxlqr.training.sharding import to_host

    total = hashlib.sha256(str(jax.tree.structure(tree)).encode())
    for leaf in jax.tree.leaves(tree):
        is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.ascontiguousarray(to_host(jax.random.key_data(leaf) if is_key else leaf))
        total.update(f"{array.dtype}{array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _is_first() -> bool:
    return jax.process_index() == 0


@contextmanager
def _explained(folder: Path, done: str, steps: list[int] | None = None) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # orbax wraps what the system says in types of its own
        kept = f" The checkpoint after step {steps[-1]} is kept." if steps else ""
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip().splitlines()[0]
        raise CheckpointError(f"the checkpoints in {folder} cannot be {done}: {reason}.{kept}") from error
