"""What a picture shows: curves and areas have a colour; axes, text, grid and background have none."""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread


def coloured_pixels(picture: Figure | Path) -> int:
    """The number of pixels with a colour, in a figure as it is saved or in a file."""
    source: io.BytesIO | Path = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(source, format="png")
        source.seek(0)
    else:
        source = picture
    red_green_blue = imread(source, format="png")[..., :3]
    return int(np.sum(np.ptp(red_green_blue, axis=-1) > 0.2))
