"""A surrogate as a forecaster of sktime; needs ``pip install 'lemode[sktime]'``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from .surrogate import Surrogate

try:
    from sktime.forecasting.base import BaseForecaster
except ImportError:
    BaseForecaster = object

__all__ = ["LEMForecaster"]


class LEMForecaster(BaseForecaster):  # type: ignore[misc]
    """A `lemode.Surrogate` in sktime's manners: ``fit(y)``, ``predict(fh)``, one or several variables.

    The series is taken as evenly sampled, row by row, whatever its index is. The forecast runs free from the end of the series that was
    fitted, or that ``update`` has made longer.

    Parameters
    ----------
    surrogate : lemode.Surrogate, optional
        The model, which is copied; a quiet one with train='readout' and 100 units by default.

    Raises
    ------
    ImportError
        Where sktime is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> try:
    ...     import pandas
    ...     from lemode.sktime import LEMForecaster
    ...     y = pandas.Series(np.sin(0.3 * np.arange(80.0)))
    ...     ahead = len(LEMForecaster().fit(y, fh=[1, 2, 5]).predict())
    ... except ImportError:  # pip install 'lemode[sktime]'
    ...     ahead = 3
    >>> ahead
    3
    """

    _tags = {  # noqa: RUF012
        "authors": ["lemode"],
        "scitype:y": "both",
        "capability:multivariate": True,  # since sktime 1.0; else a forecaster for each column
        "y_inner_mtype": "pd.DataFrame",
        "X_inner_mtype": "pd.DataFrame",
        "capability:exogenous": False,
        "capability:missing_values": True,
        "requires-fh-in-fit": False,
        "capability:insample": False,
        "capability:update": True,
        "capability:pred_int": False,
        "enforce_index_type": None,
        "python_dependencies": [],
    }

    def __init__(self, surrogate: Any = None) -> None:
        if BaseForecaster is object:
            raise ImportError("LEMForecaster is a forecaster of sktime, which is not installed: pip install 'lemode[sktime]'.")
        self.surrogate = surrogate
        super().__init__()
        self.set_config(remember_data=False)  # which warns unless it is set; what was seen is kept here

    def _fit(self, y: Any, X: Any, fh: Any) -> LEMForecaster:
        model = Surrogate(hidden_size=100, train="readout", verbose=0) if self.surrogate is None else self.surrogate
        self.seen_ = y
        self.surrogate_ = type(model)(**model.get_params()).fit(_values(y))
        return self

    def _update(self, y: Any, X: Any = None, update_params: bool = True) -> LEMForecaster:
        seen = y.combine_first(self.seen_)[list(self.seen_.columns)]
        if update_params:
            return self._fit(seen, X, None)
        self.seen_ = seen
        return self

    def _predict(self, fh: Any, X: Any) -> Any:
        ahead = fh.to_relative(self.cutoff).to_numpy().astype(int)
        found = self.surrogate_.forecast(_values(self.seen_), steps=int(ahead.max()))[ahead - 1]
        return import_module("pandas").DataFrame(found, index=fh.to_absolute_index(self.cutoff), columns=self.seen_.columns)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """What sktime's own tests build it with."""
        small: dict[str, Any] = {"hidden_size": 5, "train": "readout", "washout": 2, "verbose": 0}
        return [{"surrogate": Surrogate(delays=delays, **small)} for delays in (0, 1)]


def _values(y: Any) -> Any:
    x = np.ascontiguousarray(y.to_numpy(dtype=np.float64))
    return x if np.isfinite(x).all() else np.ma.masked_invalid(x)
