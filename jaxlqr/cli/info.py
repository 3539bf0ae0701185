"""``jaxlqr info``: the facts for a bug report."""

import platform
from importlib import metadata
from typing import Any

from jaxlqr.cli.common import Json, answering

_PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "optax", "matplotlib", "orbax-checkpoint", "typer", "rich", "tqdm")


def info(as_json: Json = False) -> None:
    """Versions, devices, precision, and which optional extras are installed; changes no setting.

    The exit code is always 0. Missing extras are listed with the command that installs them.
    """
    with answering(False, as_json) as answer:
        found = gather()
        _show(found)
        answer(found)


def gather() -> dict[str, Any]:
    """The output of :func:`info` as plain values.

    >>> sorted(gather())
    ['devices', 'extras', 'jaxlqr', 'packages', 'platform', 'precision', 'python']
    """
    import jax

    import jaxlqr

    config: Any = jax.config  # whose attributes no type checker sees
    return {
        "jaxlqr": jaxlqr.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "devices": [{"platform": one.platform, "kind": one.device_kind, "id": one.id} for one in jax.devices()],
        "precision": {
            "python": "float64" if config.jax_enable_x64 else "float32",
            "commands": "float64",
            "matmul": config.jax_default_matmul_precision or "default",
        },
        "extras": _extras(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _extras() -> dict[str, Any]:
    """By name: the packages of the extra that are missing, and the line that installs them."""
    from packaging.requirements import Requirement  # matplotlib needs it, so it is there

    try:
        distribution = metadata.distribution("jaxlqr")
    except metadata.PackageNotFoundError:
        return {}  # run from a folder, without an installation that would name them
    needs = [Requirement(text) for text in distribution.requires or ()]

    def of(extra: str) -> list[str]:
        found = []
        for need in needs:
            if need.marker is None or not need.marker.evaluate({"extra": extra}) or need.marker.evaluate({"extra": ""}):
                continue
            if need.name == "jaxlqr":  # an extra of extras
                found += [name for other in sorted(need.extras) for name in of(other)]
            elif (version := _version(need.name)) is None or not need.specifier.contains(version, prereleases=True):
                found.append(need.name)
        return found

    names = sorted(distribution.metadata.get_all("Provides-Extra") or ())
    return {
        name: {"installed": not (missing := of(name)), "missing": missing, "install": f"pip install 'jaxlqr[{name}]'"}
        for name in names
    }


def _show(found: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from jaxlqr.io.console import open_console

    console = open_console()
    table = Table("what", "which", show_header=True)
    table.add_row("jaxlqr", found["jaxlqr"])
    table.add_row("Python", f"{found['python']} on {found['platform']}")
    for name, version in found["packages"].items():
        table.add_row(name, version or "not installed")
    for device in found["devices"]:
        table.add_row("device", f"{device['platform']} {device['id']}: {device['kind']}")
    precision = found["precision"]
    table.add_row("precision", f"{precision['python']} in Python, {precision['commands']} in commands")
    table.add_row("precision of products", precision["matmul"])
    for name, extra in found["extras"].items():
        said = "installed" if extra["installed"] else f"lacks {', '.join(extra['missing'])}; {extra['install']}"
        table.add_row(f"extra {name}", escape(said))
    console.print(table)
