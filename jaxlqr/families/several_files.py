"""Tasks that lie in several files: names, patterns of names, and one stack of all of them."""

import glob
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxlqr.core.limits import check_tasks
from jaxlqr.families.files import LoadedTasks, load_tasks

_MOST_FILES = 10_000


def find_files(names: str | Path | Sequence[str | Path]) -> list[Path]:
    """The paths of the files that ``names`` gives; a name with ``*``, ``?`` or ``[...]`` gives all that match, sorted.

    A name that exists as it is written is no pattern.

    Raises:
        ValueError: when a pattern matches nothing, a file is given twice, or there are more than 10,000.

    >>> find_files(["plants.npz", "more.toml"])
    [PosixPath('plants.npz'), PosixPath('more.toml')]
    """
    paths: list[Path] = []
    for name in [names] if isinstance(names, str | Path) else names:
        text = str(name)
        if not glob.has_magic(text) or Path(text).exists():
            paths.append(Path(text))
            continue
        matches = _matches(Path(text))
        if not matches:
            raise ValueError(f"the pattern {text} of tasks files must match some file, got none.")
        paths += matches
    if not paths:
        raise ValueError("tasks_file must name at least one file, got none.")
    if len(paths) > _MOST_FILES:
        raise ValueError(f"there must be at most {_MOST_FILES} tasks files, got {len(paths)}; put tasks into one .npz.")
    path, count = Counter(paths).most_common(1)[0]
    if count > 1:
        raise ValueError(f"each tasks file must be given once, got {path} {count} times.")
    return paths


def _matches(pattern: Path) -> list[Path]:
    parts = pattern.parts
    plain = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    found = Path(*parts[:plain]).glob(str(Path(*parts[plain:])))
    return sorted(islice(found, _MOST_FILES + 1))  # **/* from the root of a disk would not end


def load_several(names: str | Path | Sequence[str | Path], *, dt: float | None = None) -> LoadedTasks:
    """The tasks of all files, one stack in the order of the files, and the initial gain that some of them name.

    Arguments:
        names: as for :func:`find_files`.
        dt: as for :func:`jaxlqr.families.files.load_tasks`.

    Raises:
        ValueError: when a file is at fault, tasks of two files differ in shape, or two files name different gains.
    """
    paths = find_files(names)
    loaded: list[LoadedTasks] = []
    for path in paths:
        loaded.append(load_tasks(path, dt=dt))
        num_states, num_inputs = loaded[-1].tasks.B.shape[1:]
        check_tasks(sum(len(each.tasks.A) for each in loaded), num_states, num_inputs, "the tasks of all files")
    first = loaded[0]
    K0 = None
    for path, each in zip(paths, loaded, strict=True):
        shapes = [stack.tasks.B.shape[1:] for stack in (first, each)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                "the tasks of all files must have as many states and inputs, got "
                f"{shapes[0][0]} and {shapes[0][1]} in {paths[0]}, {shapes[1][0]} and {shapes[1][1]} in {path}; train "
                "them one by one."
            )
        if each.K0 is None:
            continue
        if K0 is not None and not np.array_equal(K0, each.K0):
            raise ValueError(f"the files must name one initial gain K0, got another one in {path}; leave it out.")
        K0 = each.K0
    if len(loaded) == 1:
        return first
    return LoadedTasks(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *(each.tasks for each in loaded)), K0)
