"""The rows of an audit as the page shows them: grouped, and folded away where they say little."""

import re

import numpy as np


def test_the_audit_is_grouped_and_loose_bounds_are_folded():
    from lemode.analysis import AuditReport, Row
    from lemode.report.page import audit_tables

    rows = [
        Row("S1", "|y_n|", "layer 0", 0.9, 1.0),
        Row("J1", "||J||_inf", "layer 0", 1.2, 1.5),
        Row("J1", "|dE_N/dx_k|_1", "layer 0", 1e-3, 1e-2),
        Row("G_inf", "|dE/dWz|", "layer 0", 1e-3, np.inf),
        Row("G_adj a posteriori", "|dE/dWz|", "layer 0", 1e-3, 1e-4),
        Row("G_adj a posteriori", "|dE/dby|", "layer 0", 1e-3, 2e-3),
        Row("G_rec a posteriori", "|dE/dby|", "layer 0", 1e-3, 5e-3),
    ]
    text = "".join(audit_tables(AuditReport(rows, [])))
    headings = re.findall(r"<h3>(.*?)</h3>", text)
    assert len(headings) == 4
    assert headings[0] == "The state stays in the unit cube"
    assert headings[-1] == "The gradient of the loss by each parameter"
    assert text.count("<tr><td>") == len(rows)
    open_rows = re.sub(r"<details>.*?</details>", "", text)
    assert "VIOLATED" in open_rows
    assert "&infin;</td>" not in open_rows
    assert open_rows.count("|&part;E/&part;b<sub>y</sub>|") == 1  # the sharpest bound of two
    assert "|&part;E/&part;W<sub>z</sub>|" in open_rows
    assert "&#8214;J&#8214;<sub>&infin;</sub>" in text
