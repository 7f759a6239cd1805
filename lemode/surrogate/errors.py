"""What a fit warns of, and the error of one that came to nothing."""

from __future__ import annotations

__all__ = ["FitDivergedError", "FitTimeWarning", "FitWarning"]


class FitWarning(UserWarning):
    """The fit ended early or did not do what was asked; the message says what was kept.

    Examples
    --------
    A second stage that cannot work, as its noise overflows:

    >>> import warnings
    >>> wave = np.sin(np.linspace(0, 20, 201))[:, None]
    >>> options = {"stages": ("one-step", "noise"), "noise": 1e200, "optimizer": "adam"}
    >>> model = lemode.Surrogate(hidden_size=2, steps=140, **options, window=20, washout=5, verbose=0, train="all")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", FitWarning)
    ...     model = model.fit(wave)
    >>> print([w.category.__name__ for w in caught], model.history_.stopped)
    ['FitWarning'] diverged
    >>> bool(np.isfinite(model.predict(wave)).all())
    True
    """


class FitTimeWarning(FitWarning):
    """The clock of a named budget ended the fit before its steps were done: on another machine the model would be another.

    Examples
    --------
    It is a `FitWarning`, and can be told from the others:

    >>> import warnings
    >>> warnings.simplefilter("ignore", FitTimeWarning)
    >>> issubclass(FitTimeWarning, lemode.surrogate.FitWarning)
    True
    """


class FitDivergedError(RuntimeError):
    """The fit diverged before any usable weights were found. The model is what it was before.

    Examples
    --------
    >>> wave = np.sin(np.linspace(0, 60, 601, dtype=np.float32))[:, None]
    >>> try:
    ...     lemode.Surrogate(hidden_size=2, steps=50, lr=1e30, optimizer="adam", verbose=0, train="all").fit(wave)
    ... except FitDivergedError as error:
    ...     print(str(error).split("): ")[1])
    lower lr, or check the data for jumps and outliers.
    """
