"""What a surrogate is compared with, all with its surface: ``fit``, ``predict``, ``forecast``, ``rmse``, ``score``.

`Persistence` and `Autoregression` set the scale; `LSTM` and `GRU` are torch's layers trained by the same recipe as
`lemode.Surrogate`; `EchoStateNetwork` (reservoirpy), `SINDy` (pysindy) and `NeuralODE` (torchdiffeq) are the usual peers.
The packages come with ``pip install lemode[baselines]`` and are imported when a model is fitted.
"""

from .base import Baseline
from .linear import Autoregression, Persistence
from .neural_ode import NeuralODE
from .recurrent import GRU, LSTM
from .reservoir import EchoStateNetwork
from .sindy import SINDy

__all__ = ["GRU", "LSTM", "Autoregression", "Baseline", "EchoStateNetwork", "NeuralODE", "Persistence", "SINDy"]
