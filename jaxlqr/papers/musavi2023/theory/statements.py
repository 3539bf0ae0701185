"""The statements of musavi2023 as rows of a table: the inequalities that ``margins.py`` evaluates."""

from typing import NamedTuple

import numpy as np


class Statement(NamedTuple):
    """One row: its place in the paper, the compared quantities, the largest allowed ratio, and its kind.

    Kinds: ``"corrected"`` and ``"printed"`` statements, and ``"condition"``, which an instance meets or not.
    """

    source: str
    text: str
    limit: float = 1.0
    kind: str = "corrected"


#: All rows by name. A limit of 1e-9 belongs to an equation: the ratio is its residual.
STATEMENTS = {
    "hessian": Statement("(4)", "<Y, H[Y]> against autodiff", 1e-9),
    "lemma_1": Statement("Lemma 1", "spectral radius at W - 0.999 eta_max grad C"),
    "delta": Statement("Lemma 1", "spectral radius within 0.999 delta"),
    "theta": Statement("Lemma 2", "change of C, within delta"),
    "ell": Statement("Lemma 2", "change of grad C, within delta"),
    "rho": Statement("Lemma 2", "change of Hess C, within delta"),
    "H": Statement("Lemma 2", "norm of Hess C over ell, within delta"),
    "lemma_3": Statement("Lemma 3", "spectral radius at W - 0.999 beta_max grad F"),
    "delta_bar": Statement("Lemma 3", "spectral radius within 0.999 delta_bar"),
    "lemma_4": Statement("Lemma 4", "change of grad F, within its radius"),
    "descent": Statement("Theorem 1", "(2a - b^2) |grad F|^2 / (2 L) over the fall of F"),
    "room": Statement("Condition 1", "b / L over alpha delta_bar / |grad F|, b = 0.9", 1.0, "condition"),
    "printed_riccati": Statement("III.B", "residual of the Riccati equation with + (M1)", 1e-9, "printed"),
    "printed_sign": Statement("(4)", "- lambda_min / |P'[Y]|, from P'[Y] > 0 (M2)", 0.0, "printed"),
    "printed_sum": Statement("(5), Lemma 4", "change of grad F as a sum, least constants (M3)", 1.0, "printed"),
    "printed_theta": Statement("Lemma 2", "change of C, U near the boundary (M5)", 1.0, "printed"),
    "printed_ell": Statement("Lemma 2", "change of grad C, U near the boundary (M5)", 1.0, "printed"),
    "printed_rho": Statement("Lemma 2", "change of Hess C, U near the boundary (M5)", 1.0, "printed"),
    "printed_H": Statement("Lemma 2", "H(W) from two U, relative difference (M5)", 1e-9, "printed"),
    "printed_lemma_4": Statement("Lemma 4", "change of grad F, U near the boundary (M6)", 1.0, "printed"),
    "printed_validity": Statement("Condition 1", "b / L over where L holds (M6)", 1.0, "printed"),
}


def table(found: dict[str, np.ndarray]) -> list[dict[str, object]]:
    """One row for each of :data:`STATEMENTS`: the largest ratio, the median over instances of the largest of each, and
    the share of instances for which the statement is violated, or the condition not met.

    >>> rows = table({name: np.full((2, 1), 0.5) for name in STATEMENTS})  # 0.5 on both of two instances
    >>> [row["violated"] for row in rows if row["name"] in ("hessian", "ell")]  # an equation and an inequality
    [1.0, 0.0]
    """
    rows = []
    for name, statement in STATEMENTS.items():
        worst = found[name].reshape(len(found[name]), -1).max(axis=1)
        rows.append(
            {
                "name": name,
                **statement._asdict(),
                "instances": len(worst),
                "largest": float(worst.max()),
                "median": float(np.median(worst)),
                "violated": float(np.mean(~(worst <= statement.limit * (1 + 1e-9)))),
            }
        )
    return rows
