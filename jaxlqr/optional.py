"""Packages that are used when they are there, and the one sentence that is said when they are not."""

from importlib import import_module
from typing import Any


class MissingExtraError(ImportError, ValueError):
    """A package is not installed that an extra of jaxlqr brings; the message names the extra."""


def optional(module: str, extra: str, purpose: str) -> Any:
    """The module of an optional package, imported.

    Arguments:
        module: its name, dots included.
        extra: the extra of jaxlqr that installs it.
        purpose: subject of the sentence, what needs it.

    Raises:
        MissingExtraError: an ``ImportError`` and a ``ValueError``, when it is not installed.

    >>> optional("json", "tables", "this example").dumps([1])
    '[1]'
    >>> optional("no_such_package", "tables", "this example")
    Traceback (most recent call last):
    jaxlqr.optional.MissingExtraError: this example needs no_such_package; install it with: pip install 'jaxlqr[tables]'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != package:
            raise  # it is installed and broken, which its own message tells
        raise MissingExtraError(f"{purpose} needs {package}; install it with: pip install 'jaxlqr[{extra}]'") from None
