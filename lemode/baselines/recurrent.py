"""torch's recurrent layers in the place of LEM: same head, same recipe, same files of data."""

from __future__ import annotations

import torch
from torch import nn

from ..surrogate.estimator import Surrogate

__all__ = ["GRU", "LSTM"]


class LSTM(Surrogate):
    """`lemode.Surrogate` with torch.nn.LSTM as its core; dt and scheme have no meaning here."""

    def _core(self, features: int, dtype: torch.dtype) -> nn.Module:
        return nn.LSTM(features, self.hidden_size, self.num_layers, dtype=dtype)


class GRU(Surrogate):
    """`lemode.Surrogate` with torch.nn.GRU as its core; dt and scheme have no meaning here."""

    def _core(self, features: int, dtype: torch.dtype) -> nn.Module:
        return nn.GRU(features, self.hidden_size, self.num_layers, dtype=dtype)
