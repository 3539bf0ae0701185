"""Units of a long reproduction: each finished unit is kept on the disk, and loaded when the command is given again."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

import jaxlqr
from jaxlqr.core.status import SolveStatus
from jaxlqr.io.locking import locked
from jaxlqr.io.store import Description, Parts
from jaxlqr.io.workspace import check_workspace, clear_workspace, written_names
from jaxlqr.training import Checkpoints, Output, TrainingResult
from jaxlqr.training.interrupt import terminations_interrupt

FOLDER = "unfinished"
_KIND, _RUN, _WHAT = "units", "run.json", "an unfinished run"
_Result = TypeVar("_Result")


class Units:
    """The units of one run. Without a folder nothing is kept, and every unit is computed.

    ::

        unfinished/run.json             the settings of the run
        unfinished/NAME-...-....unit    the result of a unit; the first dots are a fingerprint of the settings
        unfinished/NAME-....steps       checkpoints of a unit that trains

    >>> Units()("sum", lambda: 1 + 1)
    2
    """

    def __init__(
        self, folder: Path | None = None, settings: Mapping[str, Any] | None = None, every: int | None = None
    ) -> None:
        self._folder, self._every = folder, every
        # Results hold the codes of their status: what was written with other codes is computed again.
        codes = {status.name: int(status) for status in SolveStatus}
        entries = {"version": jaxlqr.__version__, "jax": jax.__version__, "status codes": codes, **(settings or {})}
        self._settings = json.dumps(entries, sort_keys=True, default=str)
        self._parts = None if folder is None else Parts(folder, ".unit")

    def __call__(self, name: str, work: Callable[[], _Result], *classes: type) -> _Result:
        """The result of ``work``, or the one that an equal run kept under this name.

        Results are numbers, strings, arrays, and lists, tuples and dicts of them, of NamedTuples and of dataclasses,
        whose ``classes`` are given; nothing else is ever made of what lies on the disk.
        """
        if self._parts is None:
            return work()
        key = self._key(name)
        if (kept := self._parts.get(key, lambda content: (decode(content, classes),))) is not None:
            return kept[0]
        content = encode(work(), classes)
        self._parts.put(key, content)
        # As it will be read: a view in another order of memory is summed in another order, and ends in other bits.
        return decode(content, classes)

    def train(self, name: str, run: Callable[..., TrainingResult], output: Output) -> TrainingResult:
        """The result of ``run(output=...)``, a training, which also goes on from where it was stopped."""
        steps = None
        if self._folder is not None:
            steps = Checkpoints(folder=self._folder / f"{self._key(name)}.steps", every=self._every, resume=True)
        result = self(name, lambda: run(output=replace(output, checkpoints=steps)), TrainingResult)
        if steps is not None:
            steps.clear()
        return result

    def claim(self) -> None:
        """Write the settings to the folder, or compare them with those of the units that are kept there.

        Raises:
            CheckpointError: when the units are those of a run with other settings.
        """
        assert self._folder is not None
        described = Description(self._folder / _RUN, _WHAT, json.loads(self._settings))
        begun = _kept(self._folder)
        described.check(begun=begun)
        if not begun:
            described.write()

    def _key(self, name: str) -> str:
        """The name in letters that every file system takes, and a hash of the name and the settings."""
        words = "_".join("".join(c if c.isalnum() else " " for c in name).split())
        return f"{words}-{hashlib.sha256(f'{self._settings} {name}'.encode()).hexdigest()[:16]}"


@contextmanager
def units_in(out: Path, resume: bool, checkpoint_every: int | None, settings: Mapping[str, Any]) -> Iterator[Units]:
    """Units kept in the folder ``unfinished`` of ``out`` until the block ends without an error.

    Raises:
        ValueError: when there are units and ``resume`` is off, or of another run; when another process works there,
            or jaxlqr did not make the folder; or when ``checkpoint_every`` is not positive.
        KeyboardInterrupt: if the block raises it, with a message that names the stored units.
    """
    if checkpoint_every is not None and checkpoint_every < 1:
        raise ValueError(f"the steps between two checkpoints must be at least 1, got {checkpoint_every}.")
    folder = Path(out).absolute() / FOLDER
    check_workspace(folder, _KIND)
    if not resume and _kept(folder):
        Description(folder / _RUN, _WHAT, {}).check(begun=True, resume=False)
    made, done = not folder.parent.exists(), False
    with locked(folder, _KIND):
        # From here on the folder is this process's alone: a process that is refused above removes nothing.
        units = Units(folder, settings, checkpoint_every)
        units.claim()
        try:
            with terminations_interrupt():
                yield units
            done = True
        except KeyboardInterrupt as stop:
            if not stop.args and _kept(folder):
                raise KeyboardInterrupt("stopped; the finished units are kept.") from stop
            raise
        finally:
            # Of a run that failed before its first unit nothing is left either.
            if done or not _kept(folder):
                clear_workspace(folder)
                if made:
                    with suppress(OSError):
                        folder.parent.rmdir()


def _kept(folder: Path) -> bool:
    """Whether something was finished there."""
    return any(path.suffix in (".unit", ".steps") for path in written_names(folder, _KIND))


def encode(value: Any, classes: tuple[type, ...]) -> bytes:
    """``value`` as an ``.npz`` file: its arrays, and its structure as JSON.

    >>> decode(encode({"a": (1.5, [None, "b"])}, ()), ())
    {'a': (1.5, [None, 'b'])}
    """
    arrays: dict[str, np.ndarray] = {}

    def plain(value: Any) -> Any:
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, np.ndarray | np.generic | jax.Array):
            name = f"array{len(arrays)}"
            arrays[name] = np.asarray(value)
            return {"kind": "jax" if isinstance(value, jax.Array) else "numpy", "of": name}
        if isinstance(value, Mapping):
            return {"kind": "dict", "of": [[plain(key), plain(entry)] for key, entry in value.items()]}
        if type(value) in (list, tuple):
            return {"kind": type(value).__name__, "of": [plain(entry) for entry in value]}
        if type(value) in classes:
            return {"kind": type(value).__name__, "of": {name: plain(getattr(value, name)) for name in _names(value)}}
        raise TypeError(f"a unit cannot keep a value of type {type(value).__name__}.")

    structure = np.frombuffer(json.dumps(plain(value)).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, structure=structure, **arrays)
    return buffer.getvalue()


def decode(content: bytes, classes: tuple[type, ...]) -> Any:
    """The value that :func:`encode` wrote."""
    known = {one.__name__: one for one in classes}

    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:

        def made(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            kind, of = value["kind"], value["of"]
            if kind == "jax":
                return jax.device_put(arrays[of])
            if kind == "numpy":
                array = arrays[of]
                return array if array.ndim else array[()]
            if kind == "dict":
                return {made(key): made(entry) for key, entry in of}
            if kind in ("list", "tuple"):
                return (list if kind == "list" else tuple)(made(entry) for entry in of)
            return known[kind](**{name: made(entry) for name, entry in of.items()})

        return made(json.loads(arrays["structure"].tobytes()))


def _names(value: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(value)) if is_dataclass(value) else value._fields
