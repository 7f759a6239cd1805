"""One order of arguments: ode or cell, state, input, dt. A run takes its input first and may be given an initial state, as torch.nn.LSTM."""

import inspect

import pytest
import torch

from lemode import LEMCell, analysis, schemes

EMPTY = inspect.Parameter.empty
PUBLIC = {name: getattr(module, name) for module in (analysis, schemes) for name in module.__all__}
BOTH = {
    name: inspect.signature(thing).parameters
    for name, thing in PUBLIC.items()
    if inspect.isfunction(thing) and {"state", "u"} <= set(inspect.signature(thing).parameters)
}
# of a state that is given, not one to begin a run from
AT_A_STATE = [name for name, parameters in BOTH.items() if parameters["state"].default is EMPTY]
ONCE_OTHERWISE = sorted(set(AT_A_STATE) - set(schemes.SCHEMES))


@pytest.mark.parametrize("name", BOTH)
def test_a_state_comes_before_the_input_and_an_initial_one_after_it(name):
    order = list(BOTH[name])
    if name in AT_A_STATE:
        assert order[0] in ("cell", "ode")
        assert order[1:3] == ["state", "u"]
        assert "dt" not in order or order[3] == "dt"
    else:
        assert order.index("u") < order.index("state")


def test_both_kinds_are_there():
    assert len(ONCE_OTHERWISE) == 9
    assert {"audit", "timescales"} <= set(BOTH) - set(AT_A_STATE)


@pytest.mark.parametrize("name", ONCE_OTHERWISE)
def test_the_old_order_warns_and_gives_the_same(name):
    cell = LEMCell(1, 2, dt=0.5, dtype=torch.float64)
    if name == "inverse_step":
        cell.ode.weight_hh.data[2:4] = 0
    network = cell if next(iter(BOTH[name])) == "cell" else cell.ode
    state, u = tuple(torch.rand(2, 5, 2, dtype=torch.float64) / 2), torch.rand(5, 1, dtype=torch.float64)
    rest = ["V1"] if name == "parameter_jacobian" else []
    new = PUBLIC[name](network, state, u, *rest)
    for arguments, named in (((network, u, state, *rest), {}), ((network, u), {"state": state, **dict(zip(["group"], rest))})):
        with pytest.warns(DeprecationWarning, match=rf"{name}\(\w+, u, state.* is now {name}\(\w+, state, u"):
            old = PUBLIC[name](*arguments, **named)
        assert all(map(torch.equal, leaves(old), leaves(new)))


def leaves(found):
    return [found] if isinstance(found, torch.Tensor) else list(found)


def test_two_inputs_or_two_states_are_refused_as_ever():
    cell, u, y = LEMCell(1, 2), torch.zeros(1), torch.zeros(2)
    for state, given in ((u, u), ((y, y), (y, y))):
        with pytest.raises(TypeError, match=r"(state|u) is"):
            analysis.step_jacobian(cell, state, given)
    with pytest.raises(TypeError, match="positional"):
        analysis.step_jacobian(cell, u, (y, y), 1)
