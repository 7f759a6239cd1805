"""One numbering: what theory/ proves, what an audit prints, what the tests are called and how the report groups its rows."""

import re
from pathlib import Path

import pytest
import torch

import lemode
from lemode.analysis import STATEMENTS, audit
from lemode.analysis.audit_report import Row
from lemode.report.page import GROUPS

ROOT = Path(__file__).parents[2]


def test_each_statement_is_proved_where_the_list_says():
    proved = {}
    for script in (ROOT / "theory").glob("[a-z]*.py"):
        text = script.read_text()
        for number in re.findall(r'"([^"]+)"', re.search(r"^STATEMENTS = \((.*)\)", text, re.M)[1]):
            assert number not in proved, f"{number} is proved twice"
            proved[number] = f"theory/{script.name}"
    assert proved == {s.number: s.proof for s in STATEMENTS.values()}


@pytest.mark.parametrize("number", STATEMENTS)
def test_each_statement_has_a_test_of_its_number(number):
    names = re.findall(r"^def test_(\w+)", (ROOT / STATEMENTS[number].tests).read_text(), re.M)
    slug = number.replace(".", "_")
    said = [name for name in names if re.search(rf"(?<![A-Za-z0-9]){slug}(?![A-Za-z0-9])", name)]
    if match := re.fullmatch(r"(\w*?)(\d)", slug):  # J4 is one of J1_to_J6
        for name in names:
            if span := re.search(rf"{match[1]}(\d)_to_{match[1]}(\d)", name):
                said += [name] * (span[1] <= match[2] <= span[2])
    assert said, f"no test in {STATEMENTS[number].tests} carries the number {number}"


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "properties").glob("test_*.py")), ids=lambda p: p.stem)
def test_every_property_test_carries_a_number(path):
    numbers = [n.replace(".", "_") for n in STATEMENTS] + ["G"]  # G: all gradient bounds
    for name in re.findall(r"^def test_(\w+)", path.read_text(), re.M):
        assert any(name.startswith(f"{n}_") for n in numbers), name


def test_an_audit_prints_numbers_of_the_list_and_the_report_knows_their_groups():
    report = audit(lemode.LEM(1, 2, dt=0.5), torch.randn(10, 3, 1))
    assert {STATEMENTS[r.statement.removesuffix(" a posteriori")].group for r in report.rows} <= set(GROUPS)
    with pytest.raises(ValueError, match=r"statement='T4': the statements are S1, "):
        Row("T4", "||J||_inf", "layer 0", 1.0, 2.0)
