"""Refreshes the help texts in docs/command_line.md: ``python docs/command_line.py``."""

import contextlib
import io
import os
import re
from pathlib import Path

from jaxlqr.cli import main

PAGE = Path(__file__).with_name("command_line.md")
_BLOCK = re.compile(r"<!-- help: ?(\w*) -->\n(?:```text\n.*?```\n)?", re.DOTALL)


def help_text(command: str) -> str:
    """What ``jaxlqr COMMAND --help`` prints on a terminal of 100 columns."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            main([*command.split(), "--help"])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def refreshed(page: str) -> str:
    """The page with the help texts of this version."""

    def block(found: re.Match[str]) -> str:
        command = found[1]
        line = " ".join(["jaxlqr", *command.split(), "--help"])
        return f"<!-- help: {command} -->\n```text\n$ {line}\n{help_text(command)}\n```\n"

    return _BLOCK.sub(block, page)


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
