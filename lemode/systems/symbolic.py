"""Systems from formulas: right-hand side and exact Jacobian by sympy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._arrays import constant, module_of
from .base import System

if TYPE_CHECKING:
    import sympy

__all__ = ["SympySystem", "from_sympy"]


class SympySystem(System):
    """A system whose right-hand side and Jacobian are compiled from formulas, for arrays and for tensors: see `from_sympy`.

    Examples
    --------
    >>> lotka = from_sympy({"x": "x * (1 - y)", "y": "y * (x - 1)"})
    >>> lotka.rhs(0.0, np.array([[2.0, 1.0], [1.0, 3.0]]))
    array([[ 0.,  1.],
           [-2.,  0.]])
    """

    names: tuple[str, ...] = ()
    method: str = "DOP853"

    def __init__(self, variables: Sequence[sympy.Symbol], expressions: Sequence[Any], t: sympy.Symbol, method: str) -> None:
        import sympy

        self.names, self.method = tuple(str(v) for v in variables), method
        self.expressions = sympy.Matrix(list(expressions))
        J = self.expressions.jacobian(list(variables))
        entries = [*self.expressions, *J]
        # printed one by one: entries that are constants need the shape of the others
        self._compiled = {name: sympy.lambdify([t, *variables], entries, name, cse=True) for name in ("numpy", "torch")}

    def _evaluate(self, t: Any, x: Any) -> list[Any]:
        xp = module_of(x)
        values = self._compiled[xp.__name__](t, *(x[..., i] for i in range(len(self.names))))
        return [xp.broadcast_to(constant(value, x), x.shape[:-1]) for value in values]

    def rhs(self, t: Any, x: Any) -> Any:
        return module_of(x).stack(self._evaluate(t, x)[: len(self.names)], -1)

    def jacobian(self, t: Any, x: Any) -> Any:
        D = len(self.names)
        return module_of(x).stack(self._evaluate(t, x)[D:], -1).reshape((*x.shape, D))


def from_sympy(
    equations: Mapping[Any, Any],
    parameters: Mapping[Any, float] | None = None,
    t: str | sympy.Symbol = "t",
    method: str = "DOP853",
) -> SympySystem:
    r"""The system :math:`\dot x_i = f_i(t, x)` with f from formulas, and its Jacobian by differentiation.

    Parameters
    ----------
    equations : dict
        From each variable to its derivative; symbols and expressions of sympy, or strings that become such. A string is evaluated
        as Python by `sympy.sympify`: pass none from a stranger.
    parameters : dict
        Numbers for the other symbols.
    t : symbol of time
    method : default solver, see `System.solve`

    Returns
    -------
    SympySystem, for arrays and tensors

    Raises
    ------
    ValueError
        For a symbol that is neither a variable, nor a parameter, nor time.

    Examples
    --------
    >>> pendulum = from_sympy({"q": "p", "p": "-g * sin(q)"}, {"g": 9.81})
    >>> pendulum.jacobian(0.0, np.zeros(2))
    array([[ 0.  ,  1.  ],
           [-9.81,  0.  ]])
    """
    import sympy

    def symbol(name: Any) -> Any:
        return sympy.Symbol(name) if isinstance(name, str) else name

    if not equations:
        raise ValueError("equations is empty: give a formula for the derivative of each variable.")
    # a string is read with these names first, so that e.g. "beta" is a symbol and not the function
    numbers = {symbol(key): float(value) for key, value in (parameters or {}).items()}
    variables, time = [symbol(name) for name in equations], symbol(t)
    known = {str(s): s for s in [*variables, *numbers, time]}
    formulas = [sympy.sympify(f, locals=known).subs(numbers) for f in equations.values()]
    missing = set().union(*(f.free_symbols for f in formulas)) - {*variables, time}
    if missing:
        names = ", ".join(sorted(map(str, missing)))
        raise ValueError(f"the formulas contain {names}: give each an equation or a number in parameters.")
    return SympySystem(variables, formulas, time, method)
