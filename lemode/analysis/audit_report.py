"""What `lemode.analysis.audit` returns: rows of measured values beside their bounds, and the flow of the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..types import Array
from .statements import statement

__all__ = ["AuditReport", "GradientFlow", "Row"]


@dataclass(frozen=True)
class Row:
    """One statement beside its measurement; ``lower`` marks a floor, which the measured value must not fall below.

    The bound is rounded outward; the exact value is within ``rounding`` of the measured one. So there are three answers.

    Examples
    --------
    >>> row = Row("J1", "||J||_inf", "layer 0", measured=1.2, bound=1.5)
    >>> row.holds, round(row.ratio, 3)
    (True, 0.8)
    >>> Row("5.2", "|dE_N/dx_k|_1", "layer 0", measured=1e-3, bound=1e-2, lower=True).holds  # below its floor
    False
    >>> close = Row("J1", "||J||_inf", "layer 0", measured=1.5, bound=1.5, rounding=1e-15)
    >>> close.holds, close.reason
    (None, 'the measured value is known to 1e-15, and that near to its bound')
    """

    statement: str
    quantity: str
    scope: str
    measured: float
    bound: float
    lower: bool = False
    rounding: float = 0.0

    def __post_init__(self) -> None:
        statement(self.statement)  # one of the list

    @property
    def holds(self) -> bool | None:
        """Whether the statement holds on these data; None where the rounding of the measured value leaves it undecided."""
        low, high = between(self.measured, self.rounding)
        if self.lower:
            return True if low >= self.bound else False if high < self.bound else None
        return True if high <= self.bound else False if low > self.bound else None

    @property
    def reason(self) -> str:
        """Why it is undecided; empty where it is not."""
        if self.holds is not None:
            return ""
        if not math.isfinite(self.measured):
            return "the measured value overflows float64"
        if not math.isfinite(self.rounding):
            return "what rounding has done to the measured value could not be bounded"
        return f"the measured value is known to {self.rounding:.1g}, and that near to its bound"

    @property
    def vacuous(self) -> bool:
        """Whether the bound says nothing at all: it is infinite, or a floor at or below 0."""
        return not self.bound > 0 if self.lower else self.bound == math.inf

    @property
    def ratio(self) -> float:
        """How close the bound is: measured / bound (bound / measured for a floor); 1 is attained, above 1 is violated."""
        top, bottom = (self.bound, self.measured) if self.lower else (self.measured, self.bound)
        if math.isinf(bottom) or top <= 0:  # mu_inf may be negative beside a bound of 0
            return 0.0
        return top / bottom if bottom != 0 else math.inf

    def to_dict(self) -> dict[str, Any]:
        """The row with plain values."""
        return {
            "statement": self.statement, "quantity": self.quantity, "scope": self.scope, "measured": self.measured,
            "rounding": self.rounding, "bound": self.bound, "ratio": self.ratio, "holds": self.holds, "reason": self.reason,
            "vacuous": self.vacuous,
        }  # fmt: skip


def between(measured: Any, rounding: Any) -> tuple[Any, Any]:
    """The numbers between which the exact value is, for numbers or arrays.

    Examples
    --------
    >>> low, high = between(1.0, 1e-20)
    >>> bool(low < 1.0 < high), bool(between(1.0, 0.0)[0] == 1.0)
    (True, True)
    """
    with np.errstate(invalid="ignore", over="ignore"):
        low, high = np.nextafter(measured - rounding, -np.inf), np.nextafter(measured + rounding, np.inf)
    exact = np.asarray(rounding) == 0
    return np.where(exact, measured, low)[()], np.where(exact, measured, high)[()]


@dataclass(frozen=True)
class GradientFlow:
    r"""How :math:`\|\partial E_N/\partial x_k\|_1` depends on k in one layer, over samples, with its floor and its ceilings.

    All arrays are ``(N + 1,)``; ``floor`` and ``ceiling`` are a priori, ``ceiling_posterior`` uses the gates met. They are the
    smallest floor and the largest ceilings over the samples.

    Examples
    --------
    >>> from lemode.analysis import audit
    >>> flow = audit(lemode.LEM(1, 2, dt=0.1), torch.randn(10, 3, 1)).flows[0]
    >>> bool((flow.floor <= flow.smallest).all() and (flow.largest <= flow.ceiling_posterior * 1.001).all())
    True
    """

    layer: int
    smallest: Array
    median: Array
    largest: Array
    floor: Array
    ceiling: Array
    ceiling_posterior: Array


@dataclass
class AuditReport:
    """Rows, notes and gradient flows of an audit; print it, or see ``to_dict()`` and ``plot()``.

    A row's ``ratio`` is measured over bound (bound over measured for a floor): 1 means attained, above 1 violated.

    Examples
    --------
    >>> from lemode.analysis import audit
    >>> report = audit(lemode.LEM(1, 2, dt=0.1), torch.randn(10, 3, 1))
    >>> report.holds
    True
    >>> report.to_dict()["rows"][0]["statement"], len(report.flows)
    ('S1', 1)
    """

    rows: list[Row]
    flows: list[GradientFlow]
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool | None:
        """Whether every row holds: False if one does not, None if none is violated and one is undecided."""
        answers = {row.holds for row in self.rows}
        return False if False in answers else None if None in answers else True

    @property
    def verdict(self) -> str:
        """How many statements hold, of those that say something."""
        telling = [row for row in self.rows if not row.vacuous]
        empty, open = len(self.rows) - len(telling), sum(row.holds is None for row in telling)
        undecided = f", {open} {'is' if open == 1 else 'are'} undecided within rounding" if open else ""
        more = f" {empty} more say nothing: their bound is infinite, or a floor of 0." if empty else ""
        return f"{sum(row.holds is True for row in telling)} of {len(telling)} statements hold{undecided}.{more}"

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for json."""
        flows = [{k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(f).items()} for f in self.flows]
        return {
            "rows": [row.to_dict() for row in self.rows],
            "flows": flows,
            "notes": list(self.notes),
            "holds": self.holds,
            "verdict": self.verdict,
        }

    def plot(self, ax: Any = None, layer: int = -1) -> Any:
        """Measured gradient flow of a layer (the last by default) over k, with floor and ceilings; returns the Axes."""
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(6.4, 4.0), layout="constrained").add_subplot()
        from ..plots import gradient_flow

        return gradient_flow(self, layer, ax)

    def __str__(self) -> str:
        head = ("statement", "quantity", "scope", "measured", "bound", "ratio", "holds")
        lines = [
            (r.statement, r.quantity, r.scope, f"{r.measured:.4g}", f"{'>=' if r.lower else '<='} {r.bound:.4g}", f"{r.ratio:.2g}",
             "vacuous" if r.vacuous else {True: "yes", False: "NO", None: f"undecided: {r.reason}"}[r.holds])
            for r in self.rows
        ]  # fmt: skip
        width = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        text = ["  ".join(cell.ljust(w) for cell, w in zip(line, width, strict=True)).rstrip() for line in (head, *lines)]
        text.insert(1, "  ".join("-" * w for w in width))
        return "\n".join([*text, "", self.verdict, *(f"Note: {note}" for note in self.notes)])
