"""Text files of users: TOML and gains as comma-separated values, read within bounds; errors that name the file."""

import tomllib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jaxlqr.io.disk import check_regular, read_bounded

_MOST_TEXT, _MOST_LEVELS = 2**24, 20  # bytes of a text, also unpacked; tables and lists in each other


def existing(path: str | Path, what: str) -> Path:
    """``path`` if it leads to a regular file; errors call it ``what`` and guess the name that was meant."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"the {what} {path} is a folder.")
    if not path.exists():  # also where links lead in a loop
        near = get_close_matches(path.name, _names(path.parent), n=1, cutoff=0.75)
        hint = f"; did you mean {path.with_name(near[0])}?" if near else "."
        raise FileNotFoundError(f"the {what} {path} does not exist{hint}")
    check_regular(path)
    return path


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """The content of a TOML file; errors name the file, and call it ``what``."""
    path = existing(path, what)
    with naming(path):
        return parse_toml(path)


def parse_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file; errors do not name it."""
    try:
        document = tomllib.loads(read_bounded(path, _MOST_TEXT).decode())
        _check_values(document, _MOST_LEVELS)
    except RecursionError:
        raise ValueError(f"tables and lists must be nested at most {_MOST_LEVELS} deep.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"this is not valid TOML: {error}.") from None
    return document


def _check_values(value: Any, levels: int) -> None:
    """TOML's integers have 64 bits. Python reads longer ones, which no array holds."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("integers must have at most 64 bits, as those of TOML do, got a longer one.")
    if isinstance(value, dict | list):
        if levels == 0:
            raise RecursionError
        for entry in value.values() if isinstance(value, dict) else value:
            _check_values(entry, levels - 1)


def read_text(path: Path) -> str:
    """The text of a file; a name with ``.gz`` is decompressed by gzip.

    Raises:
        ValueError: when the text has more than 16 MiB, or the file is no text, or cut off.
    """
    content = read_bounded(path, _MOST_TEXT)
    return (_unpacked(content) if path.suffix == ".gz" else content).decode()


def _unpacked(content: bytes) -> bytes:
    machine = zlib.decompressobj(wbits=31)  # of gzip
    try:
        text = machine.decompress(content, _MOST_TEXT)
    except zlib.error:
        raise ValueError(
            "the file must be a gzip file because its name has .gz; it is of another kind or corrupt."
        ) from None
    if machine.unconsumed_tail:
        raise ValueError(f"this must unpack to at most {_MOST_TEXT} bytes; save the matrix alone.")
    if not machine.eof:
        raise ValueError("this is a gzip file that was cut off; save it again.")
    return text


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the name of the file in front of its error."""
    try:
        yield
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(str(path)) else f"{path}: {message}") from None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
