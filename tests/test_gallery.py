"""The gallery: its text is that of its script, and its figures are there, small enough."""

import importlib.util
from pathlib import Path

from PIL import Image

from jaxlqr import plots


def test_the_gallery_shows_each_plot_with_the_code_that_drew_it():
    docs = Path(__file__).parents[1] / "docs"
    spec = importlib.util.spec_from_file_location("gallery", docs / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    gallery = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gallery)
    page = (docs / "gallery.md").read_text(encoding="utf-8")
    assert page == gallery.page(), "run: python docs/gallery.py"
    for picture in gallery.PICTURES:
        figure = docs / "figures" / f"gallery_{picture.__name__}.png"
        assert figure.stat().st_size < 350_000
    # Every kind of plot is in it.
    shown = {name for name in vars(plots) if name.startswith("plot_")} - {"plot_training"}
    assert all(f"{name}(" in page for name in shown)
    with Image.open(docs / "figures" / "adaptation.gif") as moving:
        assert moving.n_frames > 20
    assert (docs / "figures" / "adaptation.gif").stat().st_size < 1_500_000
