"""torch's recurrent layers in the place of LEM: same head, same recipe, same files of data."""

from __future__ import annotations

import torch
from torch import nn

from ..surrogate.surrogate import Surrogate

__all__ = ["GRU", "LSTM"]


class LSTM(Surrogate):
    r"""`lemode.Surrogate` with torch.nn.LSTM as its core, trained.

    dt and scheme have no meaning here, and others than the defaults are refused.

    .. math:: \hat x_{k+1} = x_k + s \odot (C\,h_k + c), \qquad h_k \text{ the output of the LSTM at step } k

    Examples
    --------
    >>> wave = np.sin(np.linspace(0, 60, 601)).reshape(1, -1, 1)
    >>> model = LSTM(hidden_size=4, steps=5, window=50, washout=10, batch_size=4, verbose=0).fit(wave)
    >>> type(model.network_.core).__name__, model.forecast(wave, steps=5).shape
    ('LSTM', (1, 5, 1))
    """

    _architecture = ("hidden_size", "num_layers", "delays", "scale", "angles", "season", "dtype")
    _unused = ("dt", "scheme", "width")

    def _core(self, features: int, dtype: torch.dtype) -> nn.Module:
        return nn.LSTM(features, self.hidden_size, self.num_layers, dtype=dtype)


class GRU(Surrogate):
    r"""`lemode.Surrogate` with torch.nn.GRU as its core, trained.

    dt and scheme have no meaning here, and others than the defaults are refused.

    .. math:: \hat x_{k+1} = x_k + s \odot (C\,h_k + c), \qquad h_k \text{ the output of the GRU at step } k

    Examples
    --------
    >>> wave = np.sin(np.linspace(0, 60, 601)).reshape(1, -1, 1)
    >>> model = GRU(hidden_size=4, steps=5, window=50, washout=10, batch_size=4, verbose=0).fit(wave)
    >>> type(model.network_.core).__name__, model.forecast(wave, steps=5).shape
    ('GRU', (1, 5, 1))
    """

    _architecture = ("hidden_size", "num_layers", "delays", "scale", "angles", "season", "dtype")
    _unused = ("dt", "scheme", "width")

    def _core(self, features: int, dtype: torch.dtype) -> nn.Module:
        return nn.GRU(features, self.hidden_size, self.num_layers, dtype=dtype)
