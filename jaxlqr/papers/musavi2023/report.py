"""The tables of the reproduction, as they are printed."""

from typing import Any

import numpy as np
from rich.table import Table


def tables(summary: dict[str, Any]) -> list[Table]:
    """Tables I and II, the comparison of step-size rules, and the inequalities."""
    found = (_table_1(summary), _table_2(summary), _rules(summary["certified_rule"]), _inequalities(summary))
    return [table for table in found if table is not None]


def _table_1(summary: dict[str, Any]) -> Table:
    table = Table(title="Table I: final gains, median and range over draws")
    for column in ("run", "w1", "w2", "distance to the grid's minimiser"):
        table.add_column(column)
    distances = summary["largest_distance_to_refined_minimiser"]
    for number, (gains, distance) in enumerate(zip(summary["table_1"]["final_gains"], distances, strict=True)):
        table.add_row(str(number + 1), *(_cell(gains[:, i]) for i in (0, 1)), f"{distance:.4f}")
    return table


def _table_2(summary: dict[str, Any]) -> Table:
    table = Table(title="Table II: minimiser on the grid, refined, median and range over draws")
    for column in ("eta", "w1", "w2"):
        table.add_column(column)
    for step, found in summary["table_2"].items():
        table.add_row(step, *(_cell(found["refined"][:, i]) for i in (0, 1)))
    return table


def _rules(found: dict[str, Any] | None) -> Table | None:
    if found is None:
        return None
    table = Table(title="Steps to a fraction of the first gradient norm, median and range over draws")
    for column in ("fraction", "certified rule", "backtracking", "backtracking, inner step 1.5e-5", "ratio to it"):
        table.add_column(column)
    counts = found["steps_to_relative_norm"]
    for target, certified in counts["certified"].items():
        other, same = (counts[name][target] for name in ("backtracking", "backtracking_small_inner"))
        ratios = [a / b if a and b else None for a, b in zip(certified, same, strict=True)]
        table.add_row(target, *(_counts(column) for column in (certified, other, same, ratios)))
    return table


def _inequalities(summary: dict[str, Any]) -> Table:
    sizes = summary["inequalities"]
    table = Table(title="Left over right side on random instances: the largest; share of instances violated")
    table.add_column("statement")
    for size in sizes:
        table.add_column(size, justify="right", no_wrap=True)
    for rows in zip(*sizes.values(), strict=True):
        first = rows[0]
        kind = {"corrected": "", "printed": ", as printed", "condition": ", if it is met"}[first["kind"]]
        cells = [
            f"{row['largest']:.2g}" + (f"; {100 * row['violated']:.0f} %" if row["violated"] else "") for row in rows
        ]
        table.add_row(f"{first['source']}{kind}: {first['text']}", *cells)
    return table


def _cell(values: np.ndarray) -> str:
    return f"{np.median(values):+.3f} [{values.min():+.3f}, {values.max():+.3f}]"


def _counts(counts: list[float | None]) -> str:
    known = [count for count in counts if count is not None]
    missing = f", not reached in {len(counts) - len(known)}" if len(known) < len(counts) else ""
    if not known:
        return "not reached"
    return f"{np.median(known):.0f} [{min(known):.0f}, {max(known):.0f}]{missing}"
