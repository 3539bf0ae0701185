"""The tasks of a sweep that come from files: every run trains on the same plants."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxlqr.families.files import LoadedTasks, check_known
from jaxlqr.families.several_files import load_several

_OF_PERTURBATIONS = ("level", "task_seed")


def load_plants(document: Mapping[str, Any], axes: tuple[str, ...], folder: Path) -> LoadedTasks | None:
    """The plants of the table ``[tasks]`` of a sweep file and the gain K0 in them; None without this table.

    Arguments:
        document: the sweep file.
        axes: the settings that the sweep varies.
        folder: start of relative file names.

    Raises:
        ValueError: if the table is malformed, or another table or axis also draws tasks.
    """
    table = document.get("tasks")
    if table is None:
        return None
    check_known(table, ("files", "dt"), "[tasks]")
    names = table.get("files")
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        given = table.get("files")
        raise ValueError(f"files in [tasks] must be the name of a file, or a list of names, got {given!r}.")
    for name in ("nominal", "perturbation"):
        if name in document:
            raise ValueError(f"[{name}] must not stand beside [tasks], whose files have all tasks; leave one out.")
    for name in axes:
        if name in _OF_PERTURBATIONS:
            raise ValueError(f"{name} must not be an axis beside [tasks]: it draws tasks around a [nominal] system.")
    if "initial" in document:
        raise ValueError("[initial] must not stand beside [tasks]; save K0 in the file of the tasks.")
    return load_several([folder / name for name in names], dt=table.get("dt"))
