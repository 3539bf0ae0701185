"""Tables for two readers: with borders in a terminal, whole and plain for a file, a pipe or another program."""

import sys
from typing import TYPE_CHECKING, Any

from jaxlqr.core.optional import optional

if TYPE_CHECKING:
    from rich.console import Console

_UNLIMITED = 100_000  # columns: a pipe has no edge at which a table would have to be cut


def open_console() -> "Console":
    """The console for results: rich's console in a terminal, otherwise one that neither cuts nor wraps text.

    Files and pipes get Markdown tables without colours, with the title as a line above and the caption as a line below.

    >>> from rich.table import Table
    >>> table = Table("gain", "gap", title="two runs")
    >>> table.add_row("[1, 2]", "0.25")
    >>> open_console().print(table)
    two runs
    <BLANKLINE>
    | gain   | gap  |
    |--------|------|
    | [1, 2] | 0.25 |
    <BLANKLINE>
    """
    if sys.stdout.isatty():
        return optional("rich.console", "cli", "a printed table").Console(highlight=False)
    return _plain()


def counted(number: int, noun: str) -> str:
    """The number and the noun, in the plural unless it is one.

    >>> counted(1, "task"), counted(2, "task")
    ('1 task', '2 tasks')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _plain() -> "Console":
    console = optional("rich.console", "cli", "a printed table")
    from rich import box
    from rich.table import Table
    from rich.text import Text

    class Plain(console.Console):
        def print(self, *objects: Any, **options: Any) -> None:
            for one in objects:
                if not isinstance(one, Table):
                    super().print(one, **options)
                    continue
                # As lines: a table cuts a title or a caption that is longer than its columns.
                (title, one.title), (caption, one.caption) = (one.title, None), (one.caption, None)
                self._line(title)
                one.box = box.MARKDOWN  # which has a blank line above and below
                super().print(one, no_wrap=True)
                self._line(caption)

        def _line(self, text: Any) -> None:
            if text:
                super().print(Text.from_markup(text) if isinstance(text, str) else text)

    return Plain(width=_UNLIMITED, highlight=False, color_system=None, force_terminal=False, soft_wrap=False)
