"""Variants of LEM that its source names as future work, with nn.LSTM's conventions, time first: cores for sequence_tasks.py.

Those that are ahead of LEM somewhere. Two layers that add to what they read, two variables z of scales of their own, and diagonal recurrent
weights were ahead of it nowhere: the tables have their rows, and commit 207c5e9 their code.

Rusch et al., Long Expressive Memory for Sequence Modeling, arXiv:2110.04744, its conclusion.
"""

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


VARIANTS = {"LEM, convolution": Convolution, "LEM, attention": Attention}
