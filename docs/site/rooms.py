"""Draw the rooms of the package and which way imports go: python docs/site/rooms.py writes docs/figures/rooms.png.

The floors and the arrows are read from the code and from its test, so the picture shows what is and not what was meant.
"""

import runpy
from pathlib import Path

from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent.parent
COLORS = ("#E8EEF7", "#FBE9DF", "#E3F1EC")


def room_names(edges: set[tuple[str, str]]) -> set[str]:
    """Both ends of all edges."""
    return {room for edge in edges for room in edge}


def _closure(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Pairs of rooms of which the first imports the second, or something that does."""
    reached = set(edges)
    while more := {(a, d) for a, b in reached for c, d in reached if b == c} - reached:
        reached |= more
    return reached


def draw() -> Figure:
    """Rooms from the bottom floor up, and imports that do not follow from others."""
    checks = runpy.run_path(str(ROOT / "tests" / "test_structure.py"))
    floors, room_of, imported = checks["FLOORS"], checks["room_of"], checks["imported_rooms"]
    edges = {
        (room_of(path), other)
        for path in checks["FILES"]
        for other in imported(path)
        if room_of(path) not in (other, "__init__")
    }
    reached = _closure(edges)
    edges = {(a, b) for a, b in edges if not any((a, c) in reached and (c, b) in reached for c in room_names(edges))}
    place = {
        room: (column - (len(rooms) - 1) / 2, height)
        for height, rooms in enumerate(floors)
        for column, room in enumerate(sorted(rooms))
    }
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    ax = figure.subplots()
    for upper, lower in sorted(edges):
        (x0, y0), (x1, y1) = place[upper], place[lower]
        bend = 0.0 if y0 - y1 == 1 else 0.28 * (1 if (y0 + y1) % 2 else -1) * min(1.0, (y0 - y1) / 6)
        arrow = {"arrowstyle": "-", "color": "#8899AA", "linewidth": 0.7, "connectionstyle": f"arc3,rad={bend}"}
        ax.annotate("", xy=(x1, y1 + 0.2), xytext=(x0, y0 - 0.2), arrowprops=arrow)
    for room, (x, y) in place.items():
        files = [path for path in checks["FILES"] if room_of(path) == room]
        size = sum(path.stat().st_size for path in files) / 1000
        text = f"{room}\n{len(files)} file{'s' if len(files) > 1 else ''}, {size:.0f} kB"
        box = {"boxstyle": "round,pad=0.4", "facecolor": COLORS[y % 3], "edgecolor": "#445566", "linewidth": 0.8}
        ax.text(x, y, text, ha="center", va="center", fontsize=8, bbox=box)
    half = max(map(len, floors)) / 2
    ax.set(xlim=(-half, half), ylim=(-0.5, len(floors) - 0.5))
    ax.set_axis_off()
    ax.set_title("imports go down; those through other rooms are left out", fontsize=9)
    return figure


if __name__ == "__main__":
    draw().savefig(ROOT / "docs" / "figures" / "rooms.png", dpi=120)
