"""Variants of LEM that its source names as future work, with nn.LSTM's conventions, time first: cores for sequence_tasks.py.

Rusch et al., Long Expressive Memory for Sequence Modeling, arXiv:2110.04744, its conclusion.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu, scaled_dot_product_attention

import lemode

# steps, the longest time scale that gates are to start with; None for the paper's draw
Longest = float | None


def layer(features: int, hidden_size: int, longest: Longest) -> lemode.LEM:
    rnn = lemode.LEM(features, hidden_size)
    if longest is not None:
        lemode.init.timescales_(rnn, 2.0, longest)
    return rnn


class Deep(nn.Module):
    """h_0 = E u, h_k = h_{k-1} + LEM_k(norm_k(h_{k-1})): layers that add to what they read, and read it with mean 0 and variance 1."""

    def __init__(self, features: int, hidden_size: int, num_layers: int = 1, longest: Longest = None, layers: int = 2) -> None:
        super().__init__()
        self.encoder = nn.Linear(features, hidden_size)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in range(layers))
        self.layers = nn.ModuleList(layer(hidden_size, hidden_size, longest) for _ in range(layers))

    def forward(self, u: Tensor) -> tuple[Tensor, None]:
        h = self.encoder(u)
        for norm, lem in zip(self.norms, self.layers, strict=True):
            h = h + lem(norm(h))[0]
        return h, None


class ManyScales(nn.Module):
    r"""r variables z of scales of their own, all of which drive y:

    z^k_n = z^k_{n-1} + sigma(W1^k y_{n-1} + V1^k u_n + b1^k) (tanh(Wz^k y_{n-1} + Vz^k u_n + bz^k) - z^k_{n-1}), k = 1, ..., r
    y_n   = y_{n-1}   + sigma(W2 y_{n-1} + V2 u_n + b2) (tanh(sum_k Wy^k z^k_n + Vy u_n + by) - y_{n-1})

    With r = 1 it is LEM at dt = 1. Every line is a mean of an old value and a tanh, so |y|, |z^k| <= 1 as there (S1).
    """

    def __init__(self, features: int, hidden_size: int, num_layers: int = 1, longest: Longest = None, r: int = 2) -> None:
        super().__init__()
        d, self.r = hidden_size, r
        self.on_u = nn.Linear(features, (2 * r + 2) * d)  # gates of z, gate of y, targets of z, target of y
        self.on_y = nn.Linear(d, (2 * r + 1) * d, bias=False)
        self.on_z = nn.Linear(r * d, d, bias=False)
        with torch.no_grad():
            for p in self.parameters():
                p.uniform_(-1 / math.sqrt(d), 1 / math.sqrt(d))
            if longest is not None:
                tau = torch.exp(torch.empty((r + 1) * d).uniform_(math.log(2.0), math.log(longest)))
                self.on_u.bias[: (r + 1) * d] = -torch.log(tau - 1)

    def forward(self, u: Tensor) -> tuple[Tensor, None]:
        r, d = self.r, self.on_z.out_features
        y, z = u.new_zeros(u.shape[1], d), u.new_zeros(u.shape[1], r * d)
        gates, targets, last = self.on_u(u).split([(r + 1) * d, r * d, d], -1)
        weight, states = self.on_y.weight.T, []
        for g, t, o in zip(gates.unbind(0), targets.unbind(0), last.unbind(0), strict=True):
            from_y = y @ weight
            gate = torch.sigmoid(g + from_y[:, : (r + 1) * d])
            z = torch.lerp(z, torch.tanh(t + from_y[:, (r + 1) * d :]), gate[:, : r * d])
            y = torch.lerp(y, torch.tanh(self.on_z(z) + o), gate[:, r * d :])
            states.append(y)
        return torch.stack(states), None


class Convolution(nn.Module):
    """LEM on relu(c * u), causal filters of some steps."""

    channels, steps = 16, 9

    def __init__(self, features: int, hidden_size: int, num_layers: int = 1, longest: Longest = None) -> None:
        super().__init__()
        self.filters = nn.Conv1d(features, self.channels, self.steps)
        self.lem = layer(self.channels, hidden_size, longest)

    def forward(self, u: Tensor) -> tuple[Tensor, None]:
        v = relu(self.filters(pad(u.permute(1, 2, 0), (self.steps - 1, 0))))
        return self.lem(v.permute(2, 0, 1).contiguous())[0], None


class Attention(nn.Module):
    """h_n = y_n + O softmax_{k <= n}(q_n . k_k / sqrt(d)) v_k: what is read of LEM's states is all of them so far, not the last."""

    def __init__(self, features: int, hidden_size: int, num_layers: int = 1, longest: Longest = None) -> None:
        super().__init__()
        self.lem = layer(features, hidden_size, longest)
        self.query, self.key, self.value, self.out = (nn.Linear(hidden_size, hidden_size, bias=False) for _ in range(4))

    def forward(self, u: Tensor) -> tuple[Tensor, None]:
        y = self.lem(u)[0]
        h = y.transpose(0, 1)
        read = scaled_dot_product_attention(self.query(h), self.key(h), self.value(h), is_causal=True)
        return y + self.out(read).transpose(0, 1), None


class Diagonal(nn.Module):
    """LEM whose recurrent weights W1, W2, Wz, Wy are diagonal, at dt = 1, in two layers, the second adding to the first.

    Its Jacobians are 2 x 2 blocks, one a unit: a sweep of Newton's method over all steps costs O(d), `lemode.kernels.parallel`.
    """

    def __init__(self, features: int, hidden_size: int, num_layers: int = 1, longest: Longest = None, layers: int = 2) -> None:
        super().__init__()
        d = hidden_size
        self.on_u = nn.ModuleList(nn.Linear(features if k == 0 else d, 4 * d) for k in range(layers))  # 1, 2, z, y
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(4, d).uniform_(-1, 1)) for _ in range(layers))
        with torch.no_grad():
            for on_u in self.on_u:
                for p in on_u.parameters():
                    p.uniform_(-1 / math.sqrt(d), 1 / math.sqrt(d))
                if longest is not None:
                    tau = torch.exp(torch.empty(2 * d).uniform_(math.log(2.0), math.log(longest)))
                    on_u.bias[: 2 * d] = -torch.log(tau - 1)

    def forward(self, u: Tensor) -> tuple[Tensor, None]:
        for k, (on_u, weights) in enumerate(zip(self.on_u, self.weights, strict=True)):
            (w1, w2, wz, wy), blocks = weights, on_u(u).chunk(4, -1)
            y = z = torch.zeros_like(blocks[0][0])
            states = []
            for a1, a2, az, ay in zip(*(block.unbind(0) for block in blocks), strict=True):
                g2 = torch.sigmoid(torch.addcmul(a2, w2, y))
                z = torch.lerp(z, torch.tanh(torch.addcmul(az, wz, y)), torch.sigmoid(torch.addcmul(a1, w1, y)))
                y = torch.lerp(y, torch.tanh(torch.addcmul(ay, wy, z)), g2)
                states.append(y)
            u = torch.stack(states) + (u if k else 0)
        return u, None


VARIANTS = {
    "LEM, deep": Deep, "LEM, r = 2": ManyScales, "LEM, convolution": Convolution, "LEM, attention": Attention, "LEM, diagonal": Diagonal
}  # fmt: skip
