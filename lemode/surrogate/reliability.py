"""How far an ensemble's forecasts are to be believed: its calibration, and how often bands and horizons keep what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .conformal import adaptive, conformal_quantile, half_width, least_windows, scores, spread_power
from .origins import FreeRuns
from .trust_horizon import TrustRule, calibrate_trust, valid_leads

__all__ = ["LEVELS", "Calibration", "Reliability", "calibrate", "cross_judged"]

Array = NDArray[np.floating[Any]]

# of the bands whose coverage is reported
LEVELS = (0.5, 0.9)


@dataclass(frozen=True)
class Reliability:
    """What forecasts from many origins were worth: how often bands held the truth, and stated horizons were not overrun.

    Attributes
    ----------
    windows : how many forecasts
    levels : of the bands, 50 and 90 %
    coverage : ``(levels, H, D)``, shares of the truths that lie in them, by lead and variable; NaN where there is no truth
    width : ``(levels, H, D)``, their mean widths in standard deviations of the training data
    stated, valid : ``(windows,)``, leads for which forecasts were said to stay within the threshold, and for which they did
    threshold, confidence : of the stated horizons
    horizon : H, the longest lead

    Examples
    --------
    >>> stated, valid = np.array([1, 2, 2, 3]), np.array([1, 2, 3, 2])
    >>> found = Reliability(4, (0.9,), np.full((1, 3, 1), 0.75), np.ones((1, 3, 1)), stated, valid, 0.4, 0.9)
    >>> found.hit_rate, round(found.rank_correlation, 2)
    (0.75, 0.5)
    >>> print(found)
    4 free runs; share of the truth in bands of 90 %, by lead
    lead        1      2      3    all
    x0       0.75   0.75   0.75   0.75
    stated horizons (error within 0.4): 75 % of 4 not overrun, 90 % asked for; mean 2.0 of 2.0 valid leads, rank correlation 0.50
    """

    windows: int
    levels: tuple[float, ...]
    coverage: Array
    width: Array
    stated: NDArray[np.int64]
    valid: NDArray[np.int64]
    threshold: float
    confidence: float
    names: tuple[str, ...] = ()

    @classmethod
    def restored(cls, arrays: dict[str, Array], threshold: float, confidence: float, names: tuple[str, ...]) -> Reliability:
        """As a file keeps it; ValueError for arrays that do not fit together."""
        coverage, width, stated, valid = (
            np.asarray(arrays[name], np.float64) for name in ("coverage", "width", "stated", "valid")
        )
        if coverage.ndim != 3 or coverage.shape[::2] != (len(LEVELS), len(names)) or width.shape != coverage.shape:
            raise ValueError(f"coverage of shape {coverage.shape}, width {width.shape}")
        if stated.ndim != 1 or not len(stated) or stated.shape != valid.shape or not np.isfinite([stated, valid]).all():
            raise ValueError(f"stated horizons of shape {stated.shape}, valid ones {valid.shape}")
        pair = stated.astype(np.int64), valid.astype(np.int64)
        return cls(len(stated), LEVELS, coverage, width, *pair, threshold, confidence, names)

    @property
    def horizon(self) -> int:
        """The longest lead."""
        return int(self.coverage.shape[1])

    @property
    def hit_rate(self) -> float:
        """Share of the stated horizons that were not overrun: the forecast kept within the threshold for so long."""
        return float((self.stated <= self.valid).mean())

    @property
    def rank_correlation(self) -> float:
        """Spearman's, of the stated horizons with the valid leads; NaN where either does not vary."""
        if np.ptp(self.stated) == 0 or np.ptp(self.valid) == 0:
            return float("nan")
        from scipy.stats import spearmanr

        return float(spearmanr(self.stated, self.valid).statistic)

    def table(self, leads: Any = None) -> str:
        """Coverage of each variable by lead, up to six spread over the horizon by default, and what became of the stated horizons."""
        H, D = self.coverage.shape[1:]
        chosen = np.unique(np.geomspace(1, H, min(H, 6)).round().astype(int)) if leads is None else np.asarray(leads)
        names = self.names or tuple(f"x{j}" for j in range(D))
        shown, wide = range(D) if D <= 8 else [], max(6, *map(len, names[:8]))
        lines = []
        for k, level in enumerate(self.levels):
            head = f"{self.windows} free runs; share of the truth in bands of {100 * level:g} %, by lead"
            lines += [head, f"{'lead':{wide}}" + "".join(f"{lead:7}" for lead in chosen) + f"{'all':>7}"]
            rows = [(names[j], self.coverage[k, :, j]) for j in shown]
            if D > 1:
                rows.append(("mean", np.nanmean(self.coverage[k], -1)))
            lines += [
                f"{name:{wide}}" + "".join(f"{v:7.2f}" for v in (*row[chosen - 1], np.nanmean(row))) for name, row in rows
            ]
        lines.append(
            f"stated horizons (error within {self.threshold:g}): {100 * self.hit_rate:.3g} % of {self.windows} not overrun, "
            f"{100 * self.confidence:g} % asked for; mean {self.stated.mean():.1f} of {self.valid.mean():.1f} valid leads, rank "
            f"correlation {self.rank_correlation:.2f}"
        )
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()


@dataclass(frozen=True)
class Calibration:
    """What bands and horizons are made of: conformal scores ``(windows, H, D)``, the power of the spread at each lead, and the rule.

    later, rate : scores of windows that have come since, and by how much of a miss bands adapt to them

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> runs = [FreeRuns(rng.normal(size=(900, 3, 1)), np.ones((900, 3, 1)), 1.0) for _ in range(3)]
    >>> calibration = calibrate(*runs[:2], threshold=0.4, confidence=0.9)
    >>> calibration.half_width(0.9, np.ones((3, 1)))[:, 0].round(1)  # 1.64, but for the draw
    array([1.7, 1.7, 1.6])
    >>> calibration.judge(runs[2], ("v",)).coverage[1, :, 0].round(1)
    array([0.9, 0.9, 0.9])
    """

    scores: Array
    power: Array
    rule: TrustRule
    threshold: float
    confidence: float
    later: Array | None = None
    rate: float = 0.0

    @property
    def horizon(self) -> int:
        """The longest lead that was looked at."""
        return self.scores.shape[1]

    def half_width(self, level: float, spread: Array) -> Array:
        """Of bands, for spreads ``(..., leads, D)``, in standard deviations."""
        if self.later is None:
            quantile = conformal_quantile(self.scores, level)
        else:
            quantile = adaptive(self.scores, self.later, level, self.rate)[-1]
        return half_width(quantile, spread, self.power)

    def adapted(self, runs: FreeRuns, rate: float) -> Calibration:
        """The calibration after free runs that begin one sample after the other."""
        return replace(self, later=scores(runs.error, runs.spread, self.power), rate=rate)

    def judge(self, runs: FreeRuns, names: tuple[str, ...], rate: float | None = None) -> Reliability:
        """What bands and horizons are worth on these; with a rate, of bands that adapt from one to the next."""
        coverage, width = [], []
        there = ~np.isnan(runs.error)
        for level in LEVELS:
            if rate is None:
                half = self.half_width(level, runs.spread)
            else:
                found = adaptive(self.scores, scores(runs.error, runs.spread, self.power), level, rate)
                half = np.stack([half_width(q, s, self.power) for q, s in zip(found, runs.spread)])
            inside = np.where(there, np.abs(np.where(there, runs.error, 0.0)) <= half, False).sum(0) / np.maximum(
                there.sum(0), 1
            )
            coverage.append(np.where(there.any(0), inside, np.nan))
            width.append(2 * half.mean(0))
        stated, valid = self.rule.state(runs.spreads), valid_leads(runs.errors, self.threshold)
        return Reliability(
            len(runs), LEVELS, np.stack(coverage), np.stack(width), stated, valid, self.threshold, self.confidence, names
        )


def calibrate(seen: FreeRuns, fresh: FreeRuns, threshold: float, confidence: float) -> Calibration:
    """Calibration by fresh free runs; how the spread counts is learned from those along series that the fits have seen.

    Raises
    ------
    ValueError
        For fewer windows than a band of 90 % or the confidence needs.

    Examples
    --------
    >>> runs = FreeRuns(np.ones((5, 3, 1)), np.ones((5, 3, 1)), 1.0)
    >>> calibrate(runs, runs, 0.4, 0.9)
    Traceback (most recent call last):
    ValueError: the calibration series give 5 free runs: a band of 90 % needs at least 9; give more or longer series, or a shorter horizon.
    """
    need = max(least_windows(LEVELS[-1]), least_windows(confidence))
    if len(fresh) < need:
        raise ValueError(
            f"the calibration series give {len(fresh)} free runs: a band of {100 * max(LEVELS[-1], confidence):g} % needs at least {need}; "
            "give more or longer series, or a shorter horizon."
        )
    power = spread_power(seen.spread, seen.error, seen.weight)
    rule = calibrate_trust((seen.spreads, seen.errors), (fresh.spreads, fresh.errors), threshold, confidence)
    return Calibration(scores(fresh.error, fresh.spread, power), power, rule, threshold, confidence)


def cross_judged(
    seen: FreeRuns, fresh: FreeRuns, threshold: float, confidence: float, names: tuple[str, ...]
) -> Reliability | None:
    """What a calibration by one half of the fresh free runs is worth on the other; None where a half has too few.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> runs = FreeRuns(rng.normal(size=(400, 3, 1)), np.ones((400, 3, 1)), 1.0)
    >>> cross_judged(runs, runs, 0.4, 0.9, ("v",)).coverage[1].mean().round(2).item()
    0.9
    """
    middle = len(fresh) // 2
    halves = fresh.part(slice(None, middle)), fresh.part(slice(middle, None))
    if middle < max(least_windows(LEVELS[-1]), least_windows(confidence)):
        return None
    a, b = (calibrate(seen, by, threshold, confidence).judge(on, names) for by, on in (halves, halves[::-1]))
    weights = [len(half) / len(fresh) for half in halves[::-1]]
    mixed = [weights[0] * x + weights[1] * y for x, y in ((a.coverage, b.coverage), (a.width, b.width))]
    stated, valid = (np.concatenate(pair) for pair in ((b.stated, a.stated), (b.valid, a.valid)))
    return Reliability(len(fresh), LEVELS, mixed[0], mixed[1], stated, valid, threshold, confidence, names)
