"""Checkpoints of a run. Orbax writes and reads them; here they get one owner, a fingerprint, and checksums.

A folder belongs to one run, and jaxlqr made it (see :mod:`jaxlqr.io.workspace`):

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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlqr.core.optional import check_installed, optional
from jaxlqr.io.disk import read_json, write_whole
from jaxlqr.io.locking import CheckpointError, explained, locked
from jaxlqr.io.store import Description
from jaxlqr.io.workspace import check_workspace, clear_workspace, written_names

KIND = "checkpoints"
_RUN, _STATE, _HISTORY = "run.json", "state", "history"


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Where :func:`jaxlqr.meta_train` keeps checkpoints, how often, and whether it goes on from them.

    Needs the extra ``checkpoints``.

    Attributes:
        folder: a folder for this run only, which is created; a folder with other files raises an error.
        every: steps between two checkpoints; the last step gets one, too. None for one only where a signal (SIGINT,
            which is Ctrl-C, or SIGTERM) stops the run.
        resume: go on from the newest sound checkpoint, or begin if there is none. Without it a folder with checkpoints
            raises an error, so that none is lost by mistake.
        keep: how many checkpoints are kept; an older one serves when a newer one is damaged.

    A resumed run ends with the same bits as an uninterrupted one. The number of steps may be larger than before, and
    must not be smaller than the number that a checkpoint has taken.

    >>> Checkpoints(folder="run", every=0)
    Traceback (most recent call last):
    ValueError: every must be a positive integer, the steps between two checkpoints, got 0.
    """

    folder: str | Path
    every: int | None = None
    resume: bool = False
    keep: int = 2
    # Identifiers of the folders that this object opened: only those are ever cleared.
    _opened: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, what in (("every", "the steps between two checkpoints"), ("keep", "the checkpoints that are kept")):
            value = getattr(self, name)
            if not ((isinstance(value, int) and value >= 1) or (name == "every" and value is None)):
                raise ValueError(f"{name} must be a positive integer, {what}, got {value!r}.")
        # Here, because a run of hours must not end where its first checkpoint is due.
        check_installed(("orbax.checkpoint", "filelock"), "checkpoints", "a checkpoint")

    @contextmanager
    def open(self, fingerprint: Mapping[str, Any]) -> "Iterator[Keeper]":
        """Lock the folder for the run that ``fingerprint`` (of JSON values) describes.

        Raises:
            CheckpointError: when another process works there, the checkpoints are another run's, or ``resume`` is off
                and there are some.
            WorkspaceError: when jaxlqr did not make the folder, and it holds something.
        """
        folder = Path(self.folder).absolute()
        with explained(folder, "opened"):
            check_workspace(folder, KIND)
        keeper = Keeper(folder, self.keep)
        with ExitStack() as stack:

            def take_over() -> None:
                if _is_first():
                    self._opened.append(stack.enter_context(locked(folder, KIND)))
                stack.callback(keeper.close)
                keeper.claim(fingerprint, resume=self.resume)

            # A folder that may never be needed is not made.
            if self.every is None and not holds_checkpoints(folder):
                keeper.before_saving = take_over
            else:
                take_over()
            yield keeper

    def clear(self) -> None:
        """Remove the checkpoints of this run, which has ended, and no other file."""
        folder = Path(self.folder).absolute()
        if self._opened and folder.is_dir():
            with suppress(CheckpointError), locked(folder, KIND) as run:  # another run may have begun there
                if run in self._opened:
                    clear_workspace(folder)


class Saved(NamedTuple):
    """Content of a checkpoint: the leaves of the state, the history, and the number of steps."""

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
        # The import takes seconds, and most runs neither write nor read a checkpoint.
        return optional("orbax.checkpoint", "checkpoints", "a checkpoint")

    @cached_property
    def _manager(self) -> Any:
        options = self._orbax.CheckpointManagerOptions(enable_async_checkpointing=False, create=True)
        with explained(self._folder, "opened"):
            return self._orbax.CheckpointManager(
                self._folder, item_handlers=self._orbax.StandardCheckpointHandler(), options=options
            )

    @property
    def steps(self) -> list[int]:
        """Steps of the finished checkpoints, ascending."""
        if not holds_checkpoints(self._folder):
            return []
        return sorted(step for step in self._manager.all_steps() if self._checksums(step).exists())

    def claim(self, fingerprint: Mapping[str, Any], *, resume: bool) -> None:
        """Write the fingerprint of the run, or compare it with the stored one."""
        self._refuse_links()
        steps = self.steps
        last = f", the last after step {steps[-1]}" if steps else ""
        described = Description(self._folder / _RUN, f"checkpoints of a run{last}", fingerprint)
        described.check(begun=bool(steps), resume=resume)
        if not steps and _is_first():
            with explained(self._folder, "written"):
                described.write()

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
        with explained(self._folder, "written", self.steps):
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

    def _refuse_links(self) -> None:
        """No run writes a link: what it leads to may belong to another run."""
        for path in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            if path.is_symlink():
                raise CheckpointError(
                    f"{path} must be a file or folder that the run wrote, got a link; put what it leads to in its "
                    "place, or remove the link."
                )

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
            expected, found = read_json(self._checksums(step)), self._digests(step)
        except (OSError, ValueError) as error:
            return str(error)
        wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        return f"{wrong[0]} is not what was written" if wrong else None


def holds_checkpoints(folder: Path) -> bool:
    """Whether some checkpoint in the folder was finished."""
    return any(path.name.startswith("checksums-") for path in written_names(folder, KIND))


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
