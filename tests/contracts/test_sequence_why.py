"""benchmarks/sequence_why.py: its numbers against automatic differentiation, and that it runs."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import lemode

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sequence_why.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("sequence_why", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["sequence_why"] = module  # where its dataclasses look for their module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["sequence_why"]


@pytest.fixture
def learned(script):
    torch.manual_seed(0)
    core, head = lemode.LEM(2, 6), torch.nn.Linear(6, 3)
    return script.Learned(core, head, torch.randn(12, 4, 2), torch.randn(4, 3), "good")


def test_gradients_products_and_tube_are_what_they_say(script, learned):
    core, head, u = learned.core.double(), learned.head.double(), learned.u.double()
    x0 = (
        torch.zeros(4, 6, dtype=torch.float64, requires_grad=True),
        torch.zeros(4, 6, dtype=torch.float64, requires_grad=True),
    )
    y, z = x0
    for n in range(12):
        y, z = core.cells[0](u[n], (y, z))
    error = 0.5 * (head(y) - learned.goal).square().sum()
    first = sum(g.abs().sum(1) for g in torch.autograd.grad(error, x0, retain_graph=True))
    last = torch.autograd.grad(error, y)[0].abs().sum(1)
    ratio = first.median(dim=0).values if len(first) % 2 else first.sort().values[1:3].mean()
    ratio = float(ratio / last.sort().values[1:3].mean())

    def along(state):
        y, z = state[6:], state[:6]
        for n in range(12):
            y, z = core.cells[0](u[n, 0], (y, z))
        return torch.cat([z, y])

    product = torch.autograd.functional.jacobian(along, torch.zeros(12, dtype=torch.float64)).abs().sum(1).max()
    row = script.flow_row("x", learned)
    assert row[:2] == ["x", "12"]
    shown = 0.06  # of two digits
    assert float(row[2]) == pytest.approx(ratio, rel=shown)
    assert float(row[2]) < float(row[3]) < float(row[4])  # measured, along the data, from the weights
    assert row[5] == "12 of 12"
    assert float(row[6]) == pytest.approx(float(product), rel=shown)
    assert float(product) * (1 - shown) < float(row[7]) < 2 * float(product)


def test_time_scales_beside_the_one_that_is_asked_for(script, learned):
    for p in learned.core.parameters():
        torch.nn.init.zeros_(p)
    torch.nn.init.constant_(learned.core.cells[0].ode.bias, -np.log(7))  # a leak of an eighth
    row = script.scales_row("x", script.Question("a task", 10, "paper", 0.1, 5), learned)
    assert row == ["x", "a task", "the paper's", "good", "10", "8, 8, 8", "8", "100 %", "100 %"]


@pytest.mark.slow
def test_it_runs(script, capsys):
    script.main(["--quick", "adding", "copy", "permuted", "noise"])
    shown = capsys.readouterr().out
    assert shown.count("\n| ") == 2 * 5
    with pytest.raises(SystemExit):
        script.main(["nothing"])
