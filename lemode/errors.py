"""Errors and warnings that more than one room raises, and a user catches."""

from __future__ import annotations

__all__ = ["DiscontinuityWarning", "SolveError"]


class SolveError(RuntimeError):
    """The solver could not reach the end; the message says where it stopped and what to try.

    Examples
    --------
    >>> lemode.systems.CallableSystem(lambda t, x: x**2, dimension=1).solve([1.0], [0.0, 0.9, 2.0])
    ... # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    lemode.errors.SolveError: DOP853 stopped shortly after t=0.9 (of 2): Required step size is less than spacing between
        numbers. The solution blows up there, or the system is stiff: check rhs near this time, or try method='Radau'.
    """


class DiscontinuityWarning(UserWarning):
    """An input function jumps at a time of which the solver was not told.

    Examples
    --------
    >>> import warnings
    >>> step = lambda t: (t > 0.3).to(t)[None]
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = lemode.solve(lemode.MultiscaleODE(1, 2), torch.tensor([0.0, 1.0]), step)
    >>> caught[0].category.__name__, str(caught[0].message)[:20]
    ('DiscontinuityWarning', 'u jumps near t = 0.3')
    """
