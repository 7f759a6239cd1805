"""nn.LSTM and lemode's layers do the same things in the same way: the patterns of `patterns.py`, one by one."""

import pytest
from patterns import FAMILIES, PATTERNS, outcome

# how lemode may refuse: what torch itself raises (of in-place use, of a state_dict), or a sentence of its own
SENTENCES = ("ValueError", "TypeError", "NotImplementedError", "RuntimeError: Error(s) in loading", "RuntimeError: one of the")


def _marks(p):
    # those of processes share one interpreter: on one worker
    return [pytest.mark.slow] * p.slow + [pytest.mark.xdist_group("processes")] * p.processes


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", [pytest.param(name, marks=_marks(p)) for name, p in PATTERNS.items()])
def test_pattern(name, family):
    p = PATTERNS[name]
    kind, why = outcome(name, FAMILIES[family])
    if kind == "-":
        pytest.skip("nn.LSTM's counterpart has no such thing")
    assert kind != "wrong", why
    expected = p.expected.get(family, "works")
    if expected is None:
        assert "LSTM" in family or name == "in_place_under_grad"  # the version of torch decides; lemode always says
        return
    assert kind == expected, why
    if kind == "refuses" and "LEM" in family:
        assert why.startswith(SENTENCES), why


def test_there_are_as_many_patterns_as_the_manners_ask_for():
    assert len(PATTERNS) >= 40
