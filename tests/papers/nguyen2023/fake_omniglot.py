"""Small archives in the layout of Omniglot's, drawn at random, and the place of the real ones."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIDE = 20

#: Folder of the Omniglot files; tests that need them are skipped where it is not given.
REAL = Path(os.environ.get("JAXLQR_OMNIGLOT", "absent"))
needs_omniglot = pytest.mark.skipif(
    not REAL.is_dir(), reason="needs the Omniglot files: set JAXLQR_OMNIGLOT to their folder"
)


def png(bits):
    """PNG file of a drawing: black where ``bits`` [height, width] are true."""
    file = io.BytesIO()
    Image.fromarray(np.where(bits, 0, 255).astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()


def drawings(alphabets, *, count=3, side=SIDE):
    """Path and content of ``count`` drawings of each character; ``alphabets`` is {name: number of characters}.

    Equal names give equal drawings, whatever else is asked for.
    """
    files = {}
    for alphabet, characters in alphabets.items():
        for character in range(1, characters + 1):
            for drawing in range(1, count + 1):
                rng = np.random.default_rng([*alphabet.encode(), character, drawing])
                bits = rng.random((side, side)) < 0.3
                files[f"{alphabet}/character{character:02d}/{character:04d}_{drawing:02d}.png"] = png(bits)
    return files


def runs(num_runs=2, num_classes=4, *, side=SIDE):
    """The published runs in small: the item of a class is its own drawing, one pixel changed."""
    files = {}
    for run in range(1, num_runs + 1):
        rng = np.random.default_rng(run)
        answers = rng.permutation(num_classes)
        images = rng.random((num_classes, side, side)) < 0.3
        lines = []
        for place, answer in enumerate(answers, start=1):
            item = images[answer].copy()
            item[0, 0] ^= True
            files[f"run{run:02d}/test/item{place:02d}.png"] = png(item)
            files[f"run{run:02d}/training/class{place:02d}.png"] = png(images[place - 1])
            lines.append(f"run{run:02d}/test/item{place:02d}.png run{run:02d}/training/class{answer + 1:02d}.png")
        files[f"run{run:02d}/class_labels.txt"] = "\n".join(lines).encode()
    return files


def write_zip(path, files, *, inside=None):
    """An archive of files below the folder ``inside`` in it, by default named as the archive."""
    inside = path.stem if inside is None else inside
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{inside}/{name}" if inside else name, content)
    return path


def write_folder(path, files):
    """The same, unpacked."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path
