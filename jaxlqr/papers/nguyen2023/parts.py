"""What a part of the reproduction gets, and what it hands back; the parts are listed in the package."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxlqr.papers.units import Units

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table


class Request(NamedTuple):
    """What was asked for.

    Attributes:
        quick: fewer seeds and steps.
        num_seeds: overrides what ``quick`` says, unless None.
        seed: of all random numbers.
        data: folder of the Omniglot files, or None.
        progress: show progress bars; None shows them in a terminal or a notebook.
        out: the output folder, for parts that save their finished work as they go, or None.
        units: where finished units are kept until all is done.
    """

    quick: bool
    num_seeds: int | None
    seed: int
    data: Path | None
    progress: bool | None
    out: Path | None = None
    units: Units = Units()


class Outcome(NamedTuple):
    """What a part found; file names are those in the output folder.

    Attributes:
        summary: the entry of this part in ``summary.json``.
        figures: by file name.
        arrays: by file name, a dict of arrays for each ``.npz``.
        tables: printed in this order.
    """

    summary: dict[str, Any]
    figures: "dict[str, Figure]"
    arrays: dict[str, dict[str, np.ndarray]]
    tables: "list[Table]"


class Part(NamedTuple):
    """One part of the reproduction.

    Attributes:
        prepare: checks a request before any part begins (ValueError), and returns the work.
        reads_data: whether it reads the folder of the Omniglot files.
        in_quick: whether a quick run of all parts has it; by its name it can be run quickly all the same.
    """

    prepare: Callable[[Request], Callable[[], Outcome]]
    reads_data: bool = False
    in_quick: bool = True
