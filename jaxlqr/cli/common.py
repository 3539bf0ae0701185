"""Code shared by all commands: options for scripts, output streams, and interruption."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Annotated, Any

import typer

TasksFile = Annotated[
    list[str],
    typer.Option(
        "--tasks",
        help="Tasks: .npz with A, B (optionally Q, R, Sigma0, K0, Ts), .mat or .toml. Several times, or a quoted "
        "pattern like 'plants/*.npz', for the tasks of several files.",
        metavar="FILE",
    ),
]
SamplingTime = Annotated[
    float | None,
    typer.Option(
        "--dt", help="Sampling time of a zero-order hold, if the .npz or .mat is in continuous time.", metavar="TIME"
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no table; errors and warnings stay.")]
Json = Annotated[bool, typer.Option("--json", help="On stdout one JSON document, the result, and nothing else.")]


class Stopped(Exception):
    """An interruption that names the saved state; typer would turn ``KeyboardInterrupt`` into a bare exit code."""


@contextmanager
def answering(quiet: bool, as_json: bool) -> Iterator[Callable[[Any], None]]:
    """A block that computes and prints: yields the function that takes its result.

    With ``quiet`` or ``as_json`` the block prints nothing on stdout. With ``as_json`` the result follows as one JSON
    document, with null for NaN and infinities. stderr does not change.
    """
    given: list[Any] = []
    try:
        if quiet or as_json:
            with redirect_stdout(StringIO()):
                yield given.append
        else:
            yield given.append
    except KeyboardInterrupt as stop:
        raise Stopped(*stop.args) from None
    if as_json and given:
        print_json(given[-1])


def print_json(value: Any) -> None:
    """Print a result as JSON."""
    from jaxlqr.io.output import to_plain

    unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
    print(json.dumps(to_plain(value), indent=2, allow_nan=False, ensure_ascii=not unicode))


def progress_of(quiet: bool) -> bool | None:
    """The argument ``progress`` of the experiments: None shows bars in a terminal, on stderr."""
    return False if quiet else None


def say(kind: str, message: str) -> None:
    """Print one line on stderr; line breaks in the message become spaces."""
    print(f"{kind}: {' '.join(message.split())}", file=sys.stderr)


def use_float64() -> None:
    """Compute in float64: near the boundary of stability float32 is not enough."""
    import jax

    jax.config.update("jax_enable_x64", True)
    _check_drawing()


def _check_drawing() -> None:
    """Load matplotlib before the work, because a file of its settings may be wrong."""
    try:
        import matplotlib  # noqa: F401
    except ValueError as error:
        raise ValueError(
            f"matplotlib cannot read its settings: {error}; correct or remove the file matplotlibrc."
        ) from None


def fault_of_platforms() -> str | None:
    """The reason why JAX finds no device, or None if it finds one: JAX_PLATFORMS may name a missing platform."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        wanted = os.environ.get("JAX_PLATFORMS")
        reason = f" ({error})" if str(error) else ""
        return f"JAX_PLATFORMS must name platforms of this machine, got {wanted!r}{reason}; unset it, or set it to cpu."
    return None


def one_of(*words: str) -> Callable[[str], list[str]]:
    """The function that returns the completions of an argument."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def examples(*lines: str) -> str:
    """The end of a help text: commands to copy, which the help does not wrap."""
    return "Examples:\n\n\b\n" + "\n".join(f"  {line}" for line in lines)
