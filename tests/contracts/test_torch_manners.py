"""nn.LSTM and lemode's layers do the same things in the same way: the patterns of `patterns.py`, one by one."""

import pytest
from patterns import FAMILIES, PATTERNS, outcome

# how lemode may refuse: what torch itself raises (of in-place use, of a state_dict), or a sentence of its own
SENTENCES = ("ValueError", "TypeError", "NotImplementedError", "RuntimeError: Error(s) in loading", "RuntimeError: one of the")


def check(name, family):
    """Why there is nothing to check, or None."""
    p = PATTERNS[name]
    kind, why = outcome(name, FAMILIES[family])
    if kind == "-":
        return "nn.LSTM's counterpart has no such thing"
    assert kind != "wrong", why
    expected = p.expected.get(family, "works")
    if expected is None:
        assert "LSTM" in family or name == "in_place_under_grad"  # the version of torch decides; lemode always says
        return None
    assert kind == expected, why
    if kind == "refuses" and "LEM" in family:
        assert why.startswith(SENTENCES), why
    return None


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * p.slow) for n, p in PATTERNS.items() if not p.processes]
)
def test_pattern(name, family):
    if why := check(name, family):
        pytest.skip(why)


@pytest.mark.slow
def test_patterns_of_processes():
    """They share one fresh interpreter, and so one worker."""
    for name in (name for name, p in PATTERNS.items() if p.processes):
        for family in FAMILIES:
            assert check(name, family) is None


def test_there_are_as_many_patterns_as_the_manners_ask_for():
    assert len(PATTERNS) >= 40
