"""Curves over seeds, and their summary."""

from dataclasses import dataclass
from typing import Any

import numpy as np

QUARTILES = (0.25, 0.75)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A gap for each seed and iteration.

    Attributes:
        gaps: [seeds, iterations + 1].
        label: for the legend.
        diverged: [seeds], which runs diverged.
        settings: what was run, for the summary.
    """

    gaps: np.ndarray
    label: str
    diverged: np.ndarray
    settings: dict[str, Any]

    def summary(self, iterations: tuple[int, ...]) -> dict[str, Any]:
        """Medians and quantiles over the seeds that did not diverge, at the given iterations, and the count of those
        that did."""
        kept = self.gaps[~self.diverged]
        shown = [n for n in iterations if n < self.gaps.shape[1]]

        def told(statistic) -> dict[str, Any]:
            return {str(n): statistic(kept[:, n]) if len(kept) else None for n in shown}

        return {
            "gap_at": told(lambda gaps: float(np.median(gaps))),
            "gap_quartiles_at": told(lambda gaps: np.quantile(gaps, QUARTILES).tolist()),
            "gap_range_at": told(lambda gaps: [float(gaps.min()), float(gaps.max())]),
            "num_seeds": len(self.gaps),
            "num_diverged": int(self.diverged.sum()),
            "settings": self.settings,
        }


def diverged_from(gaps: np.ndarray) -> np.ndarray:
    """Runs [seeds] that end above where they began, or at no finite gap; ``gaps`` is [seeds, iterations + 1]."""
    with np.errstate(invalid="ignore"):
        return ~(np.all(np.isfinite(gaps), axis=1) & (gaps[:, -1] <= gaps[:, 0]))


def iterations_until(gaps: np.ndarray, target: float) -> np.ndarray:
    """First iteration [...] at which ``gaps`` [..., iterations + 1] is at most ``target``; infinite if none."""
    with np.errstate(invalid="ignore"):
        reached = gaps <= target
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1).astype(float), np.inf)


def count_summary(counts: np.ndarray) -> dict[str, Any]:
    """Median and quartiles of iteration counts [seeds], null where the quantile is not reached, and how many are."""
    # Order statistics, not interpolated: between a count and "never" there is nothing.
    low, middle, high = np.quantile(counts, [QUARTILES[0], 0.5, QUARTILES[1]], method="inverted_cdf")
    return {"median": middle, "quartiles": [low, high], "num_reached": int(np.isfinite(counts).sum())}
