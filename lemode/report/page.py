"""From results to the templates of `lemode.report`: plots as PNG, the rows of an audit by what they say, numbers and symbols."""

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

# the groups of statements, from the state to the gradients, as the theory goes; what each is about is in templates/groups.html
GROUPS = ("states", "jacobian", "inverse", "rate", "discretization", "flow", "gradient")


def render(template: str, **content: Any) -> Markup:
    """A template of this folder; what is not Markup is escaped."""
    return Markup(TEMPLATES.get_template(template).render(content))


def plot(draw: Callable[[Any], Any], size: tuple[float, float] = (7, 3)) -> str:
    """What is drawn on Axes, as `figure`."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=size, layout="constrained")
    draw(drawn.add_subplot())
    return figure(drawn)


def figure(drawn: Any) -> str:
    """A figure as PNG in base64, for the template to show."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=120)
    return base64.b64encode(buffer.getvalue()).decode()


def audit_tables(report: AuditReport) -> Iterator[Markup]:
    """The rows under a heading each that says what they are about; those whose bound says little are folded away."""
    scopes = len({r.scope for r in report.rows}) > 1
    for group in GROUPS:
        rows = [r for r in report.rows if _group(r) == group]
        if not rows:
            continue
        vacuous = [r for r in rows if r.vacuous]
        loose = [r for r in rows if r.holds and r.ratio < LOOSE and r not in vacuous]
        weaker = [r for r in rows if r.holds and r not in (*loose, *vacuous) and r is not _sharpest(r, rows)]
        shown = [r for r in rows if r not in (*loose, *vacuous, *weaker)]
        yield render("audit_group.html", group=group, scopes=scopes, shown=shown, weaker=weaker, loose=loose, vacuous=vacuous,
                     limit=1 / LOOSE)  # fmt: skip


def _group(row: Row) -> str:
    """Where a row is shown: by its statement, but for what J7, J2 and 5.2 say of a gradient along many steps."""
    return "flow" if row.quantity.startswith("|dE_N") else statement(row.statement).group


def _sharpest(row: Row, rows: list[Row]) -> Row:
    """Of the bounds on one parameter's gradient the closest; every other row stands for itself."""
    if not row.statement.startswith("G_"):
        return row
    return max((r for r in rows if (r.quantity, r.scope) == (row.quantity, row.scope)), key=lambda r: r.ratio)


def _number(x: float) -> Markup:
    """Four digits, powers of ten as powers."""
    text = f"{x:.4g}".replace("inf", "&infin;")
    text = re.sub(r"e([+-]?)0*(\d+)", lambda m: f"&middot;10<sup>{'&minus;' if m[1] == '-' else ''}{m[2]}</sup>", text)
    return Markup(text)


def _symbol(quantity: str) -> Markup:
    """``||1/J||_inf`` as a mathematician writes it."""
    text = html.escape(quantity).replace("||", "&#8214;").replace("1/J", "J<sup>&minus;1</sup>").replace("mu_", "&mu;_")
    text = re.sub(r"d(?=[EWVbxu](?:[_/|12zy]))", "&part;", text)
    text = re.sub(r"([WVb])([12zy])\b", r"\1<sub>\2</sub>", text)
    text = re.sub(r"_(inf|\w+)", lambda m: f"<sub>{'&infin;' if m[1] == 'inf' else m[1]}</sub>", text)
    return Markup(text)


TEMPLATES.filters |= {"number": _number, "symbol": _symbol}
