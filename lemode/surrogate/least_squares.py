r"""Linear least squares over rows that never lie in memory together: QR block by block, then every ridge from one small SVD.

The normal equations square the condition number: with 500 random features, whose singular values span 1e-14, they lose what the last
ten decades of them know. Here no product :math:`F^\top F` is formed. Householder reflections annihilate each block of rows against the
triangle of all before it, so that memory is one block and one triangle, and the error is that of a backward stable QR of the whole.

Source: Golub and Van Loan, Matrix Computations (4th ed.), sections 5.2 and 6.1; Demmel, Grigori, Hoemmen, Langou,
Communication-optimal parallel and sequential QR and LU factorizations, SIAM J. Sci. Comput. 34 (2012), for `StreamingQR.merge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import lapack, qr, svd

__all__ = ["Solution", "StreamingQR"]

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)
BLOCK = 1024  # rows reflected at a time: bounds the copy that is made of what `add` was given
PANEL = 32  # columns that LAPACK reflects together; 16 and 64 are slower


class Solution(NamedTuple):
    """Coefficients ``(columns, targets)`` for one ridge, and the weighted mean square ``(targets,)`` of what they leave.

    The mean square is without the penalty.

    Examples
    --------
    >>> from lemode.surrogate.least_squares import StreamingQR
    >>> fit = StreamingQR(columns=1)
    >>> fit.add([[1.0], [2.0]], [[1.0], [3.0]])
    >>> solution = fit.solve([0.0])[0]
    >>> solution.coefficients, solution.mean_square.round(3)
    (array([[1.4]]), array([0.1]))
    """

    ridge: float
    coefficients: Array
    mean_square: Array


class StreamingQR:
    r"""The triangle R of all rows so far, and from it the solutions of

    .. math::

        \min_{A, C}\; \frac{1}{W} \sum_i w_i \big| t_i - A^\top a_i - C^\top f_i \big|^2 + \lambda\, |C|^2,
        \qquad W = \sum_i w_i,

    where the first `unpenalised` columns of a row are :math:`a_i` and the others :math:`f_i`. With the rows
    :math:`\sqrt{w_i}\,(a_i, f_i, t_i)` stacked and factored,

    .. math::

        Q^\top (a\; f\; t) = \begin{pmatrix} R_{11} & R_{12} & q_1 \\ & R_{22} & q_2 \\ & & \rho \end{pmatrix},

    :math:`R_{22}` is the triangle of f without its projection on a. So with the singular value decomposition
    :math:`R_{22} = U\,\mathrm{diag}(s)\,V^\top` every :math:`\lambda` costs a product,

    .. math::

        C_\lambda = V\, \mathrm{diag}\Big(\frac{s}{s^2 + W \lambda}\Big)\, U^\top q_2, \qquad
        R_{11} A_\lambda = q_1 - R_{12} C_\lambda .

    Everything is in float64, whatever the type of the rows. A ridge is in the units of a mean square of a column: scale columns to
    order one.

    Parameters
    ----------
    columns : regressors of a row, the unpenalised ones first
    targets : right-hand sides
    unpenalised : how many of the first columns are outside the penalty (a constant, a linear part that is the floor)

    Raises
    ------
    ValueError
        For counts that are not positive, or more unpenalised columns than columns.

    Examples
    --------
    A constant outside the penalty, a slope inside it, a thousand rows at a time:

    >>> from lemode.surrogate.least_squares import StreamingQR
    >>> fit = StreamingQR(columns=2, unpenalised=1)
    >>> for block in np.arange(4000.0).reshape(4, 1000, 1) / 1000:
    ...     fit.add(np.concatenate([np.ones_like(block), block], 1), 3 + 2 * block)
    >>> for ridge, coefficients, mean_square in fit.solve([0.0, 1e6]):
    ...     print(coefficients[:, 0].round(2), mean_square.round(2))
    [3. 2.] [0.]
    [7. 0.] [5.33]
    """

    def __init__(self, columns: int, targets: int = 1, unpenalised: int = 0) -> None:
        if columns < 1 or targets < 1 or not 0 <= unpenalised <= columns:
            raise ValueError(
                f"columns={columns}, targets={targets}, unpenalised={unpenalised}: give at least one column and one target, and "
                "at most as many unpenalised columns as there are columns."
            )
        self.columns, self.targets, self.unpenalised = columns, targets, unpenalised
        self.weight = 0.0
        self.R: Array = np.zeros((columns + targets, columns + targets), order="F")

    def add(self, rows: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None) -> None:
        """Take in rows ``(M, columns)`` with targets ``(M, targets)`` and weights ``(M,)``, one by default.

        A row of weight zero is left out, whatever it holds; one of weight two counts as two rows.

        Raises
        ------
        ValueError
            For other shapes, weights that are negative or not finite, or a NaN or infinity in a row that has weight. Nothing is then
            taken in.
        """
        F, t = np.asarray(rows), np.asarray(targets)
        if F.shape != (len(F), self.columns) or t.shape != (len(F), self.targets):
            raise ValueError(
                f"rows of shape {F.shape} and targets of shape {t.shape}: give (M, {self.columns}) and (M, {self.targets})."
            )
        w = np.ones(len(F)) if weights is None else np.asarray(weights, dtype=np.float64)
        if w.shape != (len(F),) or not (np.isfinite(w) & (w >= 0)).all():
            raise ValueError(f"weights of shape {w.shape}: give ({len(F)},) finite numbers, none negative; 0 leaves a row out.")
        used = np.flatnonzero(w)
        pieces = [used[k : k + BLOCK] for k in range(0, len(used), BLOCK)]
        for i in pieces:
            for name, part in (("row", F[i]), ("target", t[i])):
                bad = np.argwhere(~np.isfinite(part))
                if len(bad):
                    raise ValueError(
                        f"{name} {i[bad[0, 0]]}, column {bad[0, 1]} is {part[tuple(bad[0])]}: give finite numbers, or the row the weight 0."
                    )
        for i in pieces:
            block = np.empty((len(i), self.columns + self.targets), order="F")
            block[:, : self.columns], block[:, self.columns :] = F[i], t[i]
            block *= np.sqrt(w[i])[:, None]
            self._reflect(block, 0)
            self.weight += float(w[i].sum())

    def merge(self, other: StreamingQR) -> None:
        """Take in all rows of another factor of the same columns and targets, which stays as it is: a reduction over processes.

        Raises
        ------
        ValueError
            For a factor of other columns, targets or unpenalised columns.
        """
        mine, theirs = ((q.columns, q.targets, q.unpenalised) for q in (self, other))
        if mine != theirs:
            raise ValueError(f"(columns, targets, unpenalised) are {mine} and {theirs}: merge factors that were made alike.")
        self._reflect(other.R.copy(order="F"), len(other.R))
        self.weight += other.weight

    def plus(self, other: StreamingQR, factor: float) -> StreamingQR:
        r"""A new factor, of the mean squares of these rows and `factor` squared times those of another; its weight is one.

        .. math:: \frac{1}{W} \sum_i w_i |r_i|^2 + \phi^2\, \frac{1}{W'} \sum_i w_i' |r_i'|^2

        Raises
        ------
        ValueError
            Where either has no rows, or they were not made alike.
        """
        mine, theirs = ((q.columns, q.targets, q.unpenalised) for q in (self, other))
        if mine != theirs or not (self.weight > 0 and other.weight > 0):
            raise ValueError(
                f"(columns, targets, unpenalised) are {mine} and {theirs}, weights {self.weight:g} and {other.weight:g}: add factors that "
                "were made alike, each with rows of its own."
            )
        both = StreamingQR(*mine)
        both.R, both.weight = np.asfortranarray(self.R / np.sqrt(self.weight)), 1.0
        both._reflect(np.asfortranarray(factor / np.sqrt(other.weight) * other.R), len(other.R))
        return both

    def without(self, columns: Sequence[int]) -> StreamingQR:
        """A new factor of the same rows, but for some of their columns.

        Raises
        ------
        ValueError
            For a column that there is not, or if none is left.

        Examples
        --------
        >>> fit = StreamingQR(columns=2)
        >>> fit.add([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [[5.0], [6.0], [7.0]])
        >>> fit.without([1]).solve([0.0])[0].coefficients.round(9), fit.solve([0.0])[0].coefficients.round(9).ravel()
        (array([[6.]]), array([5., 1.]))
        """
        gone = set(columns)
        if not gone <= set(range(self.columns)):
            raise ValueError(f"columns={list(columns)}: give numbers from 0 to {self.columns - 1}.")
        kept = [k for k in range(self.columns + self.targets) if k not in gone]
        fewer = StreamingQR(self.columns - len(gone), self.targets, sum(k < self.unpenalised for k in kept))
        fewer._reflect(np.asfortranarray(self.R[:, kept]), 0)
        fewer.weight = self.weight
        return fewer

    def solve(self, ridges: Sequence[float]) -> list[Solution]:
        r"""The solution for each ridge :math:`\lambda \ge 0`; for 0 that in which what the rows do not determine is zero.

        Without a ridge, singular values below ``columns`` rounding errors of the largest are taken for zero; with one, none is.

        Raises
        ------
        ValueError
            Before any row, or for a ridge that is negative or not finite.
        """
        if self.weight == 0:
            raise ValueError("no rows: `add` some of positive weight before `solve`.")
        for ridge in ridges:
            if not (np.isfinite(ridge) and ridge >= 0):
                raise ValueError(f"ridge={ridge}: give finite numbers, none negative.")
        p, n = self.unpenalised, self.columns
        # rows of unit mean square, so that a ridge means the same for any number of them
        R = self.R / np.sqrt(self.weight)
        upper, lower, rho = R[:p], R[p:n, p:], R[n:, n:]
        scale = np.linalg.norm(upper[:, :p], axis=0)
        scale[scale == 0] = 1.0
        U1, s1, V1 = _svd(upper[:, :p] / scale)
        rank = int((s1 > p * EPS * s1[:1].sum()).sum())
        if rank < p:  # what the a cannot reach is left for the f to explain
            left = qr(np.concatenate([U1[:, rank:].T @ upper[:, p:], lower]), mode="r", check_finite=False)[0]
            lower, rho = left[: n - p], np.concatenate([rho, left[n - p :, n - p :]])
        U, s, V = _svd(lower[:, : n - p])
        q = U.T @ lower[:, n - p :]
        solutions = []
        for ridge in ridges:
            kept = s > (0.0 if ridge else n * EPS * s[:1].sum())
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                gain = np.where(kept, s / (s * s + ridge), 0.0)
            C = V.T @ (gain[:, None] * q)
            A = V1[:rank].T @ ((U1[:, :rank].T @ (upper[:, n:] - upper[:, p:n] @ C)) / s1[:rank, None]) / scale[:, None]
            damped = (1 - gain * s)[:, None] * q
            solutions.append(Solution(float(ridge), np.concatenate([A, C]), (damped**2).sum(0) + (rho**2).sum(0)))
        return solutions

    def _reflect(self, block: Array, triangle: int) -> None:
        """R becomes that of [R; block], of which the last `triangle` rows are upper triangular; the block is overwritten."""
        n = len(self.R)
        if len(block):
            self.R, _, _, info = lapack.dtpqrt(triangle, min(PANEL, n), self.R, block, overwrite_a=True, overwrite_b=True)
            assert info == 0, info


def _svd(a: Array) -> tuple[Array, Array, Array]:
    """Singular value decomposition of a square matrix, which may be empty."""
    if not a.size:
        return np.zeros((len(a), 0)), np.zeros(0), np.zeros((0, a.shape[1]))
    U, s, V = svd(a, check_finite=False)
    return U, s, V
