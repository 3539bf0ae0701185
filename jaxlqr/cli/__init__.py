"""The command line. A mistake gets one sentence, not a traceback."""

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from jaxlqr.cli.common import Stopped, examples, fault_of_platforms, say
from jaxlqr.cli.info import info
from jaxlqr.cli.landscape import landscape
from jaxlqr.cli.reproduce import PAPERS, reproduce
from jaxlqr.cli.streams import guarded_streams
from jaxlqr.cli.sweep import sweep
from jaxlqr.cli.toso2024 import bounds, certified
from jaxlqr.cli.train import train

# Newer versions of typer carry their own click, so the base of its usage errors is found through one of them.
_UsageProblem: Any = typer.BadParameter.__mro__[2]  # ClickException

app: typer.Typer = typer.Typer(
    name="jaxlqr",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: boxes leave a third of a terminal for the text, and markup eats brackets
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "jaxlqr reproduce toso2024 --quick          # a figure of a paper, in half a minute",
        "jaxlqr train --tasks plants.npz --out run  # one gain for your own systems",
        "jaxlqr landscape --tasks plants.npz --out map",
        "jaxlqr train --help                        # a command in full",
        "jaxlqr --install-completion                # then Tab completes commands, options and papers",
    ),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from jaxlqr import __version__

        print(f"jaxlqr {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Meta-learn controllers and policies, and reproduce the papers on it. Computes in float64.

    Every command prints tables on stdout (Markdown tables in files and pipes), and progress, warnings and errors on
    stderr. For scripts: --quiet prints no progress and no tables, --json prints the result as one JSON document.

    Exit codes: 0 done; 1 done, but the result is not sound (a run diverged) or not complete; 2 bad input, and nothing
    was written; 130 interrupted, and the command that continues was printed.
    """


app.command(
    short_help="Meta-train one gain for your own systems.",
    epilog=examples(
        "jaxlqr train --tasks plants.npz --out run",
        "jaxlqr train --tasks family.toml --out run --oracle zeroth-order --samples 50",
        "jaxlqr train --tasks plants.npz --out run --checkpoint-every 100 --resume",
        "jaxlqr train --tasks plants.npz --out run --json | jq .objective.last",
    ),
)(train)
app.command(
    short_help="Train over a grid or a random search of settings.",
    epilog=examples(
        "jaxlqr sweep sweep.toml --out swept",
        "jaxlqr sweep sweep.toml --out swept --resume",
        "jaxlqr sweep --status swept --json",
        "jaxlqr sweep --plot swept",
    ),
)(sweep)
app.command(
    short_help="Map the meta-objective of your own systems.",
    epilog=examples(
        "jaxlqr landscape --tasks plants.npz --out map",
        "jaxlqr landscape --tasks plants.npz --out map --plane optima --frames 20",
    ),
)(landscape)
app.command(
    short_help="The bounds of the MAML-LQR theory for your tasks.",
    epilog=examples("jaxlqr bounds --tasks plants.npz --out bounds", "jaxlqr bounds --tasks plants.npz --json"),
)(bounds)
app.command(
    short_help="Run with the steps that this theory certifies.",
    epilog=examples("jaxlqr certified --tasks plants.npz --out certified --epsilon 0.05"),
)(certified)
app.command(
    short_help=f"Reproduce a paper: {', '.join(PAPERS)}.",
    epilog=examples(
        "jaxlqr reproduce toso2024 --quick",
        "jaxlqr reproduce toso2024 --part theory --out theory",
        "jaxlqr reproduce nguyen2023 --part images --data omniglot",
    ),
)(reproduce)
app.command(
    short_help="Versions, devices, precision, extras.",
    epilog=examples("jaxlqr info", "jaxlqr info --json | jq .devices"),
)(info)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; ``arguments`` are by default the arguments of the process.

    >>> main(["--version"])  # doctest: +ELLIPSIS
    jaxlqr ...
    0
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    with guarded_streams():
        return _run(words)


def _run(words: list[str]) -> int:
    if "matplotlib" not in sys.modules:
        os.environ["MPLBACKEND"] = "agg"  # commands write files, and need no window
    try:
        # Not standalone: typer would print its errors as boxes, and exit here.
        code = app(words, prog_name="jaxlqr", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort, Stopped) as stop:
        return _interrupted(words, str(stop))
    except _UsageProblem as problem:
        if type(problem).__name__ == "NoArgsIsHelpError":
            print(problem.format_message(), file=sys.stderr)
            return 2
        return _fail(_with_next_step(problem, words))
    except OSError as error:
        return _fail(f"{error.strerror}: {error.filename}." if error.filename and error.strerror else str(error))
    except (ValueError, MemoryError) as error:
        return _fail(str(error) or "out of memory.")
    except OverflowError as error:
        return _fail(f"a number is too large to compute with: {error}.")
    except (RuntimeError, AssertionError) as error:
        # The accelerator failed or ran out of memory; any other such error is a bug, and shows its traceback.
        fault = str(error) if type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError") else fault_of_platforms()
        if fault is None:
            raise
        return _fail(fault)
    return _interrupted(words) if code == 130 else code if isinstance(code, int) else 0


def _with_next_step(problem: Any, words: list[str]) -> str:
    """The message of a usage error with the wrong value, and with the help command if the message has no remedy."""
    message, context = problem.format_message(), getattr(problem, "ctx", None)
    value = _value_of(getattr(getattr(problem, "param", None), "opts", []), words)
    if value is not None and repr(value) not in message and value not in message.split():
        message = f"{message.strip().rstrip('.')}, got {value!r}."
    if context is None or "did you mean" in message.lower() or "possible options" in message.lower():
        return message
    return f"{message.strip().rstrip('.')}; see: {context.command_path} --help"


def _value_of(names: list[str], words: list[str]) -> str | None:
    """The last value of the option with these names on the command line."""
    for number, word in reversed(list(enumerate(words))):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else words[number + 1] if number + 1 < len(words) else None
    return None


def _fail(message: str) -> int:
    say("error", message)
    return 2


def _interrupted(words: list[str], kept: str = "") -> int:
    """Print the interruption and the next command. ``kept`` names the saved state of the run; by default nothing is
    saved."""
    line = ["jaxlqr", *words]
    if kept:
        line += [] if "--resume" in words else ["--resume"]
        say("interrupted", f"{kept} Go on with: {shlex.join(line)}")
    else:
        hint = ""
        if words[:1] in (["train"], ["sweep"]) and "--checkpoint-every" not in words:
            hint = " (--checkpoint-every N keeps states on the way)"
        say("interrupted", f"nothing half-written is left. Begin again with: {shlex.join(line)}{hint}")
    return 130
