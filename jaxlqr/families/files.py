"""Tasks and gains from a user's files: arrays of NumPy or MATLAB, or TOML that names a system and a perturbation."""

import io
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.core.checks import refuse_masked
from jaxlqr.core.limits import check_tasks
from jaxlqr.families.boeing import boeing, boeing_initial_gain
from jaxlqr.families.heterogeneity import perturb
from jaxlqr.families.mat_systems import check_time, read_system_file
from jaxlqr.families.numpy_files import read_numpy
from jaxlqr.families.text_files import existing, naming, parse_toml, read_text
from jaxlqr.lqr.task import LQRTask, make_task, stack_tasks

_MATRICES = ("A", "B", "Q", "R", "Sigma0")
_PERTURBED = ("A", "B", "Q", "R")
_OF_ARRAYS = (*_MATRICES, "K0", "Ts")  # in a .npz


class LoadedTasks(NamedTuple):
    """A checked stack of tasks and the initial gain [m, n] that the file names, if any."""

    tasks: LQRTask
    K0: Array | None


def load_tasks(path: str | Path, *, dt: float | None = None) -> LoadedTasks:
    """Read a stack of tasks, each checked by :func:`jaxlqr.make_task`, from a ``.npz``, ``.mat`` or ``.toml`` file.

    A ``.npz`` holds A [M, n, n] and B [M, n, m], and optionally Q, R, Sigma0 (one for each task, or one matrix for
    all; the identity unless given), K0 [m, n] and the sampling time Ts: 0 for continuous time; otherwise, and without
    Ts, time is discrete. It is read without pickle. A TOML file names a nominal system and how the tasks differ from
    it, see :func:`parse_tasks`. A ``.mat`` of MATLAB, version 5 to 7, holds a system as in COMPleib: A [n, n], the
    inputs B, or B2 where there is no B (B1 is the disturbances'), and optionally Q, R, Sigma0 and K0; other variables,
    such as C, are ignored. Several systems are arrays A(:, :, k) or cell arrays A{k}; a plain matrix next to them
    applies to all systems. Its time is continuous unless it holds a sampling time Ts other than 0; -1 is MATLAB's for
    one that is not known. A descriptor matrix E other than the identity, and a cross term N or S, are errors:
    they would change the meaning of the other matrices.

    Arguments:
        path: the file.
        dt: sampling time of a zero-order hold, for files with systems in continuous time, as in COMPleib; in a TOML
            file it is a key of ``[nominal]``.

    Raises:
        ValueError: in one sentence, with the file, the task and the argument at fault.
        FileNotFoundError: when there is no such file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "tasks.npz", A=0.5 * np.ones((3, 1, 1)), B=np.ones((3, 1, 1)))
    ...     tasks, K0 = load_tasks(Path(folder) / "tasks.npz")
    >>> tasks.R.shape, K0 is None
    ((3, 1, 1), True)
    """
    path = existing(path, "tasks file")
    readers = {
        ".npz": lambda: _tasks_from_arrays(_read_npz(path, _task_names), dt),
        ".mat": lambda: _tasks_from_arrays(read_system_file(path, dt), dt),
        ".toml": lambda: parse_tasks(parse_toml(path)),
    }
    if path.suffix not in readers:
        raise ValueError(f"the tasks file must end in .npz, .mat or .toml, got {path}.")
    if dt is not None and path.suffix == ".toml":
        raise ValueError(f"{path}: dt must not be given with a TOML file; write dt = {dt} in its table [nominal].")
    with naming(path):
        return readers[path.suffix]()


def load_gain(path: str | Path) -> Array:
    """Read a gain [m, n] from a ``.npy``, ``.npz`` or comma-separated file.

    Of a ``.npz``, such as the ``gain.npz`` that training writes, the array K is taken, else K0. The shape is checked
    where the tasks are known.
    """
    path = existing(path, "gain file")
    with naming(path):
        value = _read_gain(path)
    return _gain(value, str(path))


def _read_gain(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return read_numpy(path)
    if path.suffix == ".npz":
        (gain,) = _read_npz(path, _gain_name).values()
        return gain
    try:
        text = read_text(path)
    except UnicodeDecodeError:
        raise ValueError("this is not a comma-separated matrix, because it is no text.") from None
    try:
        return np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2)
    except ValueError as error:
        # numpy adds advice on its own arguments, which the user of a file cannot follow.
        raise ValueError(f"this is not a comma-separated matrix: {str(error).split('; ')[0].rstrip('.')}.") from None


def _gain_name(names: list[str]) -> list[str]:
    found = [name for name in ("K", "K0") if name in names]
    if not found:
        raise ValueError(f"the file must hold an array K or K0, got {', '.join(names[:10]) or 'nothing'}.")
    return found[:1]


def parse_tasks(document: Mapping[str, Any]) -> LoadedTasks:
    r"""Build the stack of tasks that a TOML document describes, given as a dictionary.

    ``[nominal]``
        ``family = "boeing"`` with ``variant = "released"`` or ``"printed"``, or matrices ``A``, ``B`` and optionally
        ``Q``, ``R``, ``Sigma0``; with ``dt``, a sampling time, A and B are in continuous time.
    ``[perturbation]``
        ``num_tasks``, ``level`` (one number, or four for A, B, Q, R) and optionally ``seed`` (0),
        ``include_nominal`` (true) and the table ``masks`` with matrices ``A``, ``B``, ``Q``, ``R`` (zero unless
        given), all as in :func:`jaxlqr.families.perturb`. Without this table the nominal system is the only task.
    ``[initial]``
        ``K0``, a matrix, or ``"paper"`` for the initial gain of the Boeing system.

    >>> tasks, K0 = parse_tasks({"nominal": {"A": [[0.9]], "B": [[1.0]]}, "initial": {"K0": [[0.5]]}})
    >>> tasks.A.shape, K0.shape
    ((1, 1, 1), (1, 1))
    >>> parse_tasks({"nominal": {"family": "boeing", "varient": "printed"}})
    Traceback (most recent call last):
    ValueError: unknown key 'varient' in [nominal] with a family; did you mean 'variant'?
    """
    check_known(document, ("nominal", "perturbation", "initial"), "the file")
    for name, value in document.items():
        if not isinstance(value, dict):
            raise ValueError(f"{name} must be a table, written [{name}], got {_shown(value)}.")
    if "nominal" not in document:
        raise ValueError('the file must have a table [nominal] with the system, such as family = "boeing".')
    nominal = document["nominal"]
    task = _nominal(nominal)
    tasks = _perturbed(task, document["perturbation"]) if "perturbation" in document else stack_tasks([task])
    K0 = None
    if "initial" in document:
        check_known(document["initial"], ("K0",), "[initial]")
        _required(document["initial"], ("K0",), "[initial]")
        value = document["initial"]["K0"]
        paper = isinstance(value, str) and value == "paper" and nominal.get("family") == "boeing"
        K0 = boeing_initial_gain() if paper else _gain(value, "K0 of [initial]")
    return LoadedTasks(tasks, K0)


def _nominal(table: Mapping[str, Any]) -> LQRTask:
    if "family" in table:
        check_known(table, ("family", "variant"), "[nominal] with a family")
        if table["family"] != "boeing":
            raise ValueError(f'unknown family {table["family"]!r} in [nominal]; known is "boeing".')
        if not isinstance(table.get("variant", ""), str):
            raise ValueError(f'variant in [nominal] must be "released" or "printed", got {_shown(table["variant"])}.')
        return boeing(variant=table.get("variant", "released"))
    check_known(table, ("family", "variant", *_MATRICES, "dt"), "[nominal]")
    if "variant" in table or not table:
        raise ValueError('[nominal] must name a family, such as family = "boeing", or give the matrices A and B.')
    _required(table, ("A", "B"), "[nominal]")
    return _checked_task(table, "[nominal]", table.get("dt"))


def _perturbed(task: LQRTask, table: Mapping[str, Any]) -> LQRTask:
    where = "[perturbation]"
    check_known(table, ("num_tasks", "level", "seed", "include_nominal", "masks"), where)
    _required(table, ("num_tasks", "level"), where)
    num_tasks = _integer(table["num_tasks"], f"num_tasks in {where}", 1)
    seed = _integer(table.get("seed", 0), f"seed in {where}", 0)
    nominal = table.get("include_nominal", True)
    if not isinstance(nominal, bool):
        raise ValueError(f"include_nominal in {where} must be true or false, got {_shown(nominal)}.")
    level = _numbers(table["level"], "level", where)
    if level.shape not in ((), (4,)) or not np.all(np.isfinite(level) & (level >= 0)):
        raise ValueError(
            f"level in {where} must be one number >= 0, or four, for A, B, Q and R, got {_shown(table['level'])}."
        )
    masks = parse_masks(task, table["masks"]) if "masks" in table else None
    num_states, num_inputs = task.B.shape
    check_tasks(num_tasks, num_states, num_inputs)
    stack = perturb(jax.random.key(seed), task, num_tasks, jnp.asarray(level), masks=masks, include_nominal=nominal)
    return _checked_stack({name: np.asarray(getattr(stack, name)) for name in _MATRICES})


def parse_masks(task: LQRTask, table: Any) -> list[Array]:
    """Four masks for :func:`jaxlqr.families.perturb` from the table ``masks`` of :func:`parse_tasks`."""
    where = "[perturbation.masks]"
    if not isinstance(table, dict):
        raise ValueError(f"masks must be a table {where} with matrices A, B, Q, R, got {_shown(table)}.")
    check_known(table, _PERTURBED, where)
    # perturb checks their shapes; make_task checks their values in the resulting tasks.
    return [jnp.asarray(_numbers(table.get(name, 0 * getattr(task, name)), name, where)) for name in _PERTURBED]


def _tasks_from_arrays(arrays: Mapping[str, np.ndarray], dt: float | None) -> LoadedTasks:
    check_known(arrays, _OF_ARRAYS, "the file")
    _required(arrays, ("A", "B"), "the file")
    arrays = dict(arrays)
    if "Ts" in arrays:
        check_time(_numbers(arrays.pop("Ts"), "Ts", "the file"), dt)
    arrays = {name: _numbers(value, name, "the file") for name, value in arrays.items()}
    A, B = arrays["A"], arrays["B"]
    if A.ndim != 3 or B.ndim != 3 or len(A) != len(B):
        raise ValueError(
            f"A and B must have shapes [M, n, n] and [M, n, m] with one matrix for each of M tasks, got {A.shape} and "
            f"{B.shape}; a single task has M = 1."
        )
    if len(A) == 0:
        raise ValueError(f"the file must hold at least one task, got A of shape {A.shape}.")
    stacks = {"A": A, "B": B}
    for name in ("Q", "R", "Sigma0"):
        if name not in arrays:
            continue
        value = arrays[name]
        if value.ndim not in (2, 3) or (value.ndim == 3 and len(value) != len(A)):
            raise ValueError(
                f"{name} must be one matrix for all tasks or one for each of {len(A)}, got shape {value.shape}."
            )
        stacks[name] = value if value.ndim == 3 else np.broadcast_to(value, (len(A), *value.shape))
    K0 = _gain(arrays["K0"], "K0") if "K0" in arrays else None
    check_tasks(len(A), A.shape[1], B.shape[2])
    return LoadedTasks(_checked_stack(stacks, dt), K0)


def _checked_stack(stacks: Mapping[str, np.ndarray], dt: float | None = None) -> LQRTask:
    count = len(stacks["A"])
    checked = [_checked_task({name: s[i] for name, s in stacks.items()}, f"task {i}", dt) for i in range(count)]
    return stack_tasks(checked)


def _checked_task(matrices: Mapping[str, Any], where: str, dt: Any = None) -> LQRTask:
    try:
        return make_task(**{name: matrices[name] for name in _MATRICES if name in matrices}, dt=dt)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _gain(value: Any, name: str) -> Array:
    gain = _numbers(value, name, "the file")
    if gain.ndim != 2 or not np.all(np.isfinite(gain)):
        raise ValueError(f"{name} must be a finite matrix [m, n], got {_shown(value)} of shape {gain.shape}.")
    return jnp.asarray(gain, jnp.result_type(float))


def _integer(value: Any, name: str, least: int) -> int:
    # bool is an int to Python, but true is no number of tasks; 2^32 is the largest seed of every generator.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**32:
        raise ValueError(f"{name} must be an integer of at least {least} (and below 2^32), got {_shown(value)}.")
    return value


def _numbers(value: Any, name: str, where: str) -> np.ndarray:
    refuse_masked(value, f"{name} in {where}")
    try:
        array = np.asarray(value)  # raises for rows of different lengths
    except ValueError:
        raise ValueError(f"{name} in {where} must have rows of equal length, got {_shown(value)}.") from None
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} in {where} must be real numbers, got {_shown(value)}.")
    return array.astype(float)


def _task_names(names: list[str]) -> list[str]:
    check_known(dict.fromkeys(names), _OF_ARRAYS, "the file")
    return names


def _read_npz(path: Path, choose: Callable[[list[str]], list[str]]) -> dict[str, np.ndarray]:
    content = read_numpy(path, choose)
    if isinstance(content, np.ndarray):
        raise ValueError("this is a single array and not an .npz archive; write it with numpy.savez(path, A=A, B=B).")
    return content


def check_known(table: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    """Raise ``ValueError``, with a guess, for a key of ``table`` that is not one of ``names``."""
    for key in table:
        if key not in names:
            folded = {name.lower(): name for name in names}  # a is A, mistyped
            near = get_close_matches(key.lower(), folded, n=1)
            hint = f"did you mean {folded[near[0]]!r}?" if near else f"known are {', '.join(names)}."
            raise ValueError(f"unknown key {key!r} in {where}; {hint}")


def _required(table: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise ValueError(f"{where} must have {' and '.join(missing)}, got {', '.join(sorted(table)) or 'nothing'}.")


def _shown(value: Any) -> str:
    text = " ".join(repr(value.tolist() if isinstance(value, np.ndarray) else value).split())
    return text if len(text) <= 60 else text[:57] + "..."
