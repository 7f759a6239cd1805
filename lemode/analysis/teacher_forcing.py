r"""How strongly a run has to be drawn towards the data for its gradients to stay bounded, over any number of steps.

With generalised teacher forcing of strength :math:`\alpha` a surrogate reads, in training,

.. math:: \tilde x_k = (1 - \alpha)\,\hat x_k + \alpha\,x_k, \qquad (\hat x_{k+1}, s_{k+1}) = F(\tilde x_k, s_k).

Proofs: 12.1 to 12.3 in ``theory/teacher_forcing.py``. Along data, `lemode.surrogate.forcing` measures what is enough.
"""

from __future__ import annotations

from typing import NamedTuple

from .._checks import checks, finite
from .rounding import inward, outward

__all__ = ["CriticalForcing", "critical_forcing"]


class CriticalForcing(NamedTuple):
    r"""A strength from which on products of Jacobians are bounded by one, in the norm :math:`\max(|s| / p, |x|)`.

    Attributes
    ----------
    strength : :math:`\alpha^*`, rounded up
    weight : p, the size of a change of the state that counts as one of the values; 0 where the state does not depend on them

    Examples
    --------
    >>> CriticalForcing(0.5, 1.0).weight
    1.0
    """

    strength: float
    weight: float


@checks(a=finite, b=finite, c=finite, d=finite)
def critical_forcing(a: float, b: float, c: float, d: float) -> CriticalForcing:
    r"""The smallest strength of forcing that is enough for all networks whose Jacobian has blocks of these norms. Statement 12.2.

    .. math::

        \alpha^* = \max\Big(0,\ 1 - \frac{1}{d + bc / (1 - a)}\Big), \qquad p = (1 - \alpha^*)\,\frac{b}{1 - a}

    For :math:`\alpha \ge \alpha^*` every product of Jacobians of the forced run is at most one in the norm :math:`\max(|s| / p, |x|)`, and
    gradients grow no faster than the number of steps; for :math:`\alpha < \alpha^*` there are networks with these norms whose products grow
    exponentially.

    Parameters
    ----------
    a, b : float
        Largest norms, along a run, of the derivatives of the next state by the state and by the values that are read. A LEM that contracts,
        `contraction_certificate`, has a < 1 for all runs.
    c, d : float
        The same of the predicted values.

    Returns
    -------
    CriticalForcing

    Raises
    ------
    ValueError
        For negative norms, or :math:`a \ge 1`: a state that does not forget is not bounded by forcing the values.

    Examples
    --------
    A network without memory whose values may double needs half of a difference taken away; one with a memory needs more:

    >>> round(critical_forcing(0, 0, 0, 2).strength, 6), round(critical_forcing(0.5, 1, 1, 2).strength, 6)
    (0.5, 0.75)
    """
    if min(a, b, c, d) < 0:
        raise ValueError(f"a={a!r}, b={b!r}, c={c!r}, d={d!r}: they are norms; give numbers of at least zero.")
    if a >= 1:
        raise ValueError(
            f"a={a!r}: give a norm below one, such as that of contraction_certificate: forcing the values does not bound a state that "
            "does not forget."
        )
    kept = float(inward(1 - a, 1))
    gain = float(outward(d + b * c / kept, 4)) if b and c else d
    strength = min(float(outward(1 - float(inward(1 / gain, 1)), 2)), 1.0) if gain > 1 else 0.0
    return CriticalForcing(strength, (1 - strength) * b / (1 - a))
