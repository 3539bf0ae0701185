"""What ``jaxlqr reproduce`` runs: the parts that were chosen, checked first, whose files appear together."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.table import Table

from jaxlqr.papers.driver import Outcome, Paper, Part, Request, unchecked


def part(name, **options):
    """A part that writes one array and a figure, both under its name."""

    def run(request):
        arrays = {f"{name}.npz": {"seeds": np.array(request.seeds(2, 20))}}
        return Outcome({name: request.quick}, {f"{name}.png": Figure()}, arrays, [Table(title=f"table of {name}")])

    return Part(unchecked(run), **options)


PAPER = Paper(
    "draft2026",
    {
        "short": part("short"),
        "long": part("long", in_quick=False),
        "apart": part("apart", in_all=False, summary_file="apart.json"),
        "data": part("data", reads_data=True),
    },
)


@pytest.mark.parametrize(
    ("options", "ran", "summary"),
    [
        ({}, {"short", "long", "data"}, "summary.json"),
        ({"quick": True}, {"short", "data"}, "summary.json"),
        ({"quick": True, "part": "long"}, {"long"}, "summary.json"),
        ({"part": "apart"}, {"apart"}, "apart.json"),
    ],
)
def test_the_chosen_parts_run_and_write_their_files(tmp_path, capsys, options, ran, summary):
    found = PAPER.reproduce(tmp_path / "out", **options)
    written = json.loads((tmp_path / "out" / summary).read_text())
    assert set(written) == {"paper", "wall_time_seconds", "jax", *ran}
    assert {name: found[name] for name in ran} == dict.fromkeys(ran, options.get("quick", False))
    files = {f"{name}.{kind}" for name in ran for kind in ("png", "npz")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {summary, *files}
    with np.load(tmp_path / "out" / f"{min(ran)}.npz") as arrays:
        assert arrays["seeds"] == (2 if options.get("quick") else 20)
    printed = capsys.readouterr().out
    assert all(f"table of {name}" in printed and f"{name}.npz" in printed for name in ran)
    assert f"and {summary} are in {tmp_path / 'out'}" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_seeds": 0}, "the number of seeds must be at least 1, got 0"),
        ({"part": "all"}, "unknown part 'all' of draft2026; known are short, long, apart, data"),
        ({"part": "long", "data": "files"}, "no data are read by long of draft2026; leave out the folder files"),
    ],
)
def test_bad_choices_are_refused_and_nothing_is_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        PAPER.reproduce(tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_every_part_is_checked_before_the_first_begins(tmp_path):
    began = []

    def refuse(request):
        raise ValueError("no such files")

    paper = Paper("draft2026", {"first": Part(unchecked(began.append)), "second": Part(refuse)})
    with pytest.raises(ValueError, match="no such files"):
        paper.reproduce(tmp_path / "out")
    assert began == []


def test_a_name_that_a_folder_has_is_refused_before_the_work(tmp_path):
    began = []
    (tmp_path / "maps.png").mkdir()
    paper = Paper("draft2026", {"maps": Part(unchecked(began.append), files=("maps.png",))})
    with pytest.raises(ValueError, match=r"maps\.png cannot be written"):
        paper.reproduce(tmp_path)
    assert began == []


def test_seeds_that_are_given_override_those_of_a_quick_run():
    assert Request(True, 7, 0, None, None).seeds(2, 20) == 7
