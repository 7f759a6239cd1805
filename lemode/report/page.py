"""The HTML of `lemode.report`: style, tables, plots as inline PNG, and the audit in words."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable, Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..analysis import AuditReport
from ..analysis.audit_report import Row
from ..analysis.statements import statement

TEMPLATES = Environment(loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined)

LOOSE = 1e-3  # a bound a thousand times the measured value says little

# a group of statements: a heading, and what its rows say
GROUPS: dict[str, tuple[str, str]] = {
    "states": ("The state stays in the unit cube", "|y| and |z| never exceed 1, whatever the input. theory/state_bounds.py."),
    "jacobian": ("How far one step can stretch a perturbation",
        "J is the derivative of the state x = (z, y) by the state one step before, &part;x<sub>n</sub>/&part;u<sub>n</sub> that by the input. "
        "A norm of J is the largest factor by which a step stretches a small difference between two states. J2 uses the gates met. "
        "theory/jacobian_bounds.py."),
    "inverse": ("How far one step can squeeze a perturbation",
        "One over a norm of the inverse of J is the smallest factor by which a step shrinks a small difference: a floor under the gradient. "
        "theory/gradient_floor.py."),
    "rate": ("Growth rate of the ODE, and its slowest gate",
        "&mu;<sub>&infin;</sub> is the rate at which a perturbation of the ODE may grow at the worst point met. A gate is the rate at which a unit "
        "moves to its target, in units of one over the network's time unit. theory/vector_field.py, theory/contraction.py."),
    "discretization": ("LEM as a discretization of the ODE",
        "How far LEM is from the exact solution of its ODE after one step, and after some more. theory/local_and_global_error.py."),
    "flow": ("The gradient of the last step's loss by earlier states",
        "How much the loss at the end depends on the state after step k. The rows are for the steps k at which measured value and bound are "
        "closest; the plot below has all of them, with the bounds as far as they are near. theory/gradient_bounds.py, theory/gradient_floor.py."),
    "gradient": ("The gradient of the loss by each parameter",
        "The largest entry of the gradient by each block of weights, and the sharpest bound on it. G<sub>adj</sub> follows the exact gradient back along these data; "
        "G<sub>rec</sub> and the closed forms bound it a priori, and grow exponentially with the number of steps. theory/gradient_bounds.py."),
}  # fmt: skip


def render(template: str, **content: Any) -> Markup:
    """A template of this folder; what is not Markup is escaped."""
    return Markup(TEMPLATES.get_template(template).render(content))


def table(rows: list[list[Any]], head: tuple[str, ...] = (), raw: tuple[int, ...] = ()) -> Markup:
    """Rows as an HTML table; cells are escaped except in the columns `raw`, headings are HTML."""
    cells = [[Markup(c) if i in raw else c for i, c in enumerate(row)] for row in rows]
    return render("table.html", rows=cells, head=[Markup(name) for name in head])


def folded(summary: str, content: str) -> str:
    """Shown on a click."""
    return f"<details><summary>{summary}</summary>{content}</details>"


def plot(draw: Callable[[Any], Any], size: tuple[float, float] = (7, 3)) -> str:
    from matplotlib.figure import Figure

    drawn = Figure(figsize=size, layout="constrained")
    draw(drawn.add_subplot())
    return figure(drawn)


def figure(drawn: Any) -> str:
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=120)
    return f"<img alt='plot' src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"


def audit_tables(report: AuditReport) -> Iterator[str]:
    """The rows under a heading each that says what they are about; those whose bound says little are folded away."""
    # from the state to the gradients, as the theory goes
    for group, (heading, text) in GROUPS.items():
        rows = [r for r in report.rows if _group(r) == group]
        if not rows:
            continue
        vacuous = [r for r in rows if r.vacuous]
        loose = [r for r in rows if r.holds and r.ratio < LOOSE and r not in vacuous]
        weaker = [r for r in rows if r.holds and r not in (*loose, *vacuous) and r is not _sharpest(r, rows)]
        shown = [r for r in rows if r not in (*loose, *vacuous, *weaker)]
        yield f"<h3>{heading}</h3><p class='note'>{text}</p>"
        scopes = len({r.scope for r in report.rows}) > 1
        if shown:
            yield _rows(shown, scopes)
        if weaker:
            yield folded(f"{len(weaker)} more rows hold, with a bound that is less sharp", _rows(weaker, scopes))
        if loose:
            says = f"a bound that says little: it is over {1 / LOOSE:,.0f} times the measured value"
            yield folded(f"{len(loose)}{' more' if shown else ''} rows hold, with {says}", _rows(loose, scopes))
        if vacuous:
            yield folded(f"{len(vacuous)} rows say nothing: the bound is infinite, or a floor of 0", _rows(vacuous, scopes))


def _group(row: Row) -> str:
    """Where a row is shown: by its statement, but for what J1, J2 and 5.2 say of a gradient along many steps."""
    return "flow" if row.quantity.startswith("|dE_N") else statement(row.statement).group


def _sharpest(row: Row, rows: list[Row]) -> Row:
    """Of the bounds on one parameter's gradient the closest; every other row stands for itself."""
    if not row.statement.startswith("G_"):
        return row
    return max((r for r in rows if (r.quantity, r.scope) == (row.quantity, row.scope)), key=lambda r: r.ratio)


def _rows(rows: list[Row], scopes: bool) -> str:
    cells = []
    for r in rows:
        verdict = "" if r.holds else "<span class='bad'>VIOLATED</span>"
        bound = f"{'&ge;' if r.lower else '&le;'} {_number(r.bound)}"
        cells.append([_symbol(r.quantity), _number(r.measured), bound, f"{r.ratio:.2g} {verdict}", _symbol(r.statement)]
                     + ([html.escape(r.scope)] if scopes else []))  # fmt: skip
    head = ("quantity", "measured", "bound", "how close", "statement", *(("of",) if scopes else ()))
    return table(cells, head, raw=tuple(range(len(head))))


def _number(x: float) -> str:
    """Four digits, powers of ten as powers."""
    text = f"{x:.4g}".replace("inf", "&infin;")
    return re.sub(r"e([+-]?)0*(\d+)", lambda m: f"&middot;10<sup>{'&minus;' if m[1] == '-' else ''}{m[2]}</sup>", text)


def _symbol(quantity: str) -> str:
    """``||1/J||_inf`` as a mathematician writes it."""
    text = html.escape(quantity).replace("||", "&#8214;").replace("1/J", "J<sup>&minus;1</sup>").replace("mu_", "&mu;_")
    text = re.sub(r"d(?=[EWVbxu](?:[_/|12zy]))", "&part;", text)
    text = re.sub(r"([WVb])([12zy])\b", r"\1<sub>\2</sub>", text)
    return re.sub(r"_(inf|\w+)", lambda m: f"<sub>{'&infin;' if m[1] == 'inf' else m[1]}</sub>", text)
