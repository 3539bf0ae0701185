"""Figures one after another."""

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from jaxlqr.core.optional import optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def animation(
    figures: "Iterable[Figure]", *, milliseconds: int = 200, dpi: float = 90, back: bool = False, hold: int = 1
) -> bytes:
    """The figures, all of one size, as the content of an endless GIF of 64 colours.

    Arguments:
        figures: in their order; each is drawn when it comes, so that a generator keeps one of them at a time.
        milliseconds: a frame.
        dpi: pixels an inch.
        back: go back through the frames, so that the loop has no jump.
        hold: frames for which the last one stands.

    >>> from jaxlqr.plots import new_figure
    >>> animation([new_figure()[0], new_figure(num_rows=1, num_columns=1)[0]])[:6]
    b'GIF89a'
    """
    image = optional("PIL.Image", "plots", "an animation")  # pillow comes with matplotlib

    pictures = []
    for figure in figures:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi)
        pictures.append(image.open(buffer).convert("RGB").quantize(64))
    if not pictures:
        raise ValueError("figures must hold at least one figure, got none.")
    rest = [*pictures[1:], *(pictures[-1:] * (hold - 1)), *(pictures[-2:0:-1] if back else [])]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, format="GIF", save_all=True, append_images=rest, loop=0, duration=milliseconds, optimize=True
    )
    return buffer.getvalue()
