"""Optional packages: imported at their first use; if one is missing, the error names its extra."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any


class MissingExtraError(ImportError, ValueError):
    """An optional package is not installed; the message names the extra of jaxlqr that installs it."""


def optional(module: str, extra: str, purpose: str) -> Any:
    """The module of an optional package, imported.

    Arguments:
        module: its name, dots included.
        extra: the extra of jaxlqr that installs it.
        purpose: subject of the sentence, what needs it.

    Raises:
        MissingExtraError: an ``ImportError`` and a ``ValueError``, when it is not installed.

    >>> optional("json", "tables", "the plot").dumps([1])
    '[1]'
    >>> optional("no_package", "tables", "the plot")
    Traceback (most recent call last):
    jaxlqr.core.optional.MissingExtraError: the plot needs no_package; install it with: pip install 'jaxlqr[tables]'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != package:
            raise  # it is installed but broken; its own message explains the fault
        raise _missing(module, extra, purpose) from None


def check_installed(modules: Sequence[str], extra: str, purpose: str) -> None:
    """Check that optional packages are installed, without importing them: before work whose end needs them.

    Arguments:
        modules: their names, dots included; only the packages in front of a dot are imported.
        extra: the extra of jaxlqr that installs them.
        purpose: subject of the sentence, what needs them.

    Raises:
        MissingExtraError: naming the first package that is not installed.

    >>> check_installed(["json", "no_package"], "tables", "the plot")
    Traceback (most recent call last):
    jaxlqr.core.optional.MissingExtraError: the plot needs no_package; install it with: pip install 'jaxlqr[tables]'
    """
    for module in modules:
        if not is_installed(module):
            raise _missing(module, extra, purpose)


def is_installed(module: str) -> bool:
    """Whether a module could be imported; only the packages in front of a dot in its name are imported.

    >>> is_installed("json"), is_installed("no_package.part")
    (True, False)
    """
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # the package in front of the dot is missing, or None in sys.modules
        return False


def _missing(module: str, extra: str, purpose: str) -> MissingExtraError:
    package = module.partition(".")[0]
    return MissingExtraError(f"{purpose} needs {package}; install it with: pip install 'jaxlqr[{extra}]'")
