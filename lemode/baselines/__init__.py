"""What a surrogate is compared with, all with ``fit``, ``predict``, ``forecast`` and ``rmse``.

`Persistence` and `Autoregression` set the scale; `LSTM` and `GRU` are torch's layers trained by the same recipe as
`lemode.Surrogate`, with everything it has; `Polynomial` is next-generation reservoir computing; `EchoStateNetwork` (reservoirpy),
`SINDy` (pysindy), `NeuralODE` (torchdiffeq) and `AlmostLinearRNN` are the usual peers. The packages come with
``pip install '.[baselines]'`` in the folder of the sources, and are imported when a model is fitted.
"""

from .almost_linear import AlmostLinearRNN
from .base import Baseline
from .linear import Autoregression, Persistence
from .neural_ode import NeuralODE
from .polynomial import Polynomial
from .recurrent import GRU, LSTM
from .reservoir import EchoStateNetwork
from .sindy import SINDy

__all__ = [
    "GRU",
    "LSTM",
    "AlmostLinearRNN",
    "Autoregression",
    "Baseline",
    "EchoStateNetwork",
    "NeuralODE",
    "Persistence",
    "Polynomial",
    "SINDy",
]
