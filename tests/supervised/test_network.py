"""The network of the estimators: what its head reads, and chrono initialisation."""

import numpy as np
import pytest
import torch

import lemode
from lemode.supervised.network import SequenceNetwork, build, chrono_
from lemode.supervised.series import Padded


def test_every_step_is_read_where_every_step_has_a_label():
    network = SequenceNetwork(lemode.LEM(2, 4), 4, 3, readout="all")
    series = Padded.of([np.ones((5, 2)), np.ones((7, 2))])
    out = network(series)
    assert out.shape == (2, 7, 3)
    assert torch.allclose(out[1], network.head(network.core(series.x[:, 1])[0]), atol=1e-6)


def test_dropout_is_of_training_only():
    network = SequenceNetwork(lemode.LEM(2, 50), 50, 3, dropout=0.5)
    series = Padded.of([np.ones((5, 2))])
    assert not torch.equal(network(series), network(series))
    network.eval()
    assert torch.equal(network(series), network(series))


@pytest.mark.parametrize("layers", [1, 2])
def test_chrono_is_in_every_layer_and_nothing_else_changes(layers):
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(3, 200, layers)
    before = {name: p.detach().clone() for name, p in lstm.named_parameters()}
    chrono_(lstm, 1000, torch.Generator().manual_seed(0))
    for k in range(layers):
        i, f, g, o = (getattr(lstm, f"bias_ih_l{k}") + getattr(lstm, f"bias_hh_l{k}")).detach().chunk(4)
        assert torch.equal(i, -f)
        # exp(f) is uniform on 1 to 999
        assert abs(f.exp().mean() - 500) < 100  # 5 standard errors of 200 units
        assert f.max() <= np.log(999) + 1e-5
        was = (before[f"bias_ih_l{k}"] + before[f"bias_hh_l{k}"]).chunk(4)
        assert torch.equal(g, was[2])
        assert torch.equal(o, was[3])
    assert all(torch.equal(p, before[name]) for name, p in lstm.named_parameters() if "weight" in name)
    with pytest.raises(TypeError, match="core is LEM: give a torch"):
        chrono_(lemode.LEM(1, 2), 10)


def test_the_same_draw_for_the_same_generator():
    nets = [build("lem", 2, 4, 3, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    weights = [torch.cat([p.detach().ravel() for p in net.parameters()]) for net in nets]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert weights[0].abs().max() < 0.5
