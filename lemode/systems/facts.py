"""Numbers to check an implementation against, with where they come from."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Fact"]


@dataclass(frozen=True)
class Fact:
    """A number that a correct implementation reproduces, for the default parameters of its system.

    Attributes
    ----------
    value : float
    error : float
        Half the width within which it is certain: a few standard errors, or the accuracy of the solution.
    how : str
        Method, step or tolerance, length; or the argument, if exact. `benchmarks/reference_facts.py` computes it again.

    Examples
    --------
    >>> from lemode.systems import Lorenz63
    >>> fact = Lorenz63.facts["lambda_1"]
    >>> fact.value, fact.error
    (0.9056, 0.0001)
    """

    value: float
    error: float
    how: str
