"""The statements of the theory by number: the one list that theory/, the audit, the report, the tests and the documentation share."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["STATEMENTS", "Statement", "statement"]


@dataclass(frozen=True)
class Statement:
    """A statement: its number in theory/, what it says, the group it is shown in, the script that proves it, the tests that try it.

    Examples
    --------
    >>> STATEMENTS["J1"].proof, STATEMENTS["J1"].tests
    ('theory/jacobian_bounds.py', 'tests/properties/test_J_jacobians.py')
    """

    number: str
    title: str
    group: str
    proof: str
    tests: str


def _all() -> tuple[Statement, ...]:
    found = []
    for group, script, test, titles in (
        ("states", "state_bounds", "S_states", {
            "S1": "the state stays in the unit cube", "S2": "how far it may leave for 1 < dt <= 2", "S3": "the cube is invariant"}),
        ("states", "floating_point", "S_states", {"S4": "the cube is kept in floating point"}),
        ("jacobian", "step_jacobian", "J_jacobians", {"3": "the step's Jacobian, exactly"}),
        ("jacobian", "jacobian_bounds", "J_jacobians", {
            "J1": "||J||_inf, a priori", "J2": "||J||_inf, by the gates met", "J3": "||J||_1", "J4": "||J||_2",
            "J5": "the derivative by the input", "J6": "the distance of J from I",
            "J7": "products of J, a priori"}),
        ("gradient", "gradient_bounds", "G_gradients", {
            "G_inf": "closed form, by infinity norms", "G_1": "closed form, by 1-norms", "G_ref": "closed form, refined",
            "G_rec": "by a recursion", "G_unif": "uniform in the number of steps", "G_adj": "by the exact adjoint"}),
        ("gradient", "counterexamples", "G_gradients", {"G_quad": "when the quadratic form in time holds"}),
        ("inverse", "determinant_and_inverse", "5_stability", {"5.1": "determinant and inverse of the step"}),
        ("inverse", "gradient_floor", "5_stability", {"5.2": "||1/J||, and a floor under the gradient"}),
        ("rate", "vector_field", "5_stability", {"5.3": "growth rate of the ODE"}),
        ("rate", "contraction", "5_stability", {"5.4": "contraction"}),
        ("discretization", "local_and_global_error", "6_discretization", {
            "6.1": "what kind of step LEM is, and its order", "6.2": "local and global error"}),
        ("discretization", "linear_stability", "6_discretization", {"6.3": "linear stability"}),
        ("discretization", "unconditional_schemes", "S_states", {"6.4": "schemes that keep the cube for every dt"}),
        ("discretization", "strang_step", "schemes", {"6.5": "the Strang step"}),
        ("discretization", "time_scales", "6_discretization", {
            "7.1": "gates by time scale", "7.2": "what the Euler leak costs"}),
        ("discretization", "step_sizes", "11_step_sizes", {"11.1": "steps of different sizes"}),
        ("discretization", "exact_gates", "6_discretization", {"7.3": "dt = 2 is a tanh network"}),
        ("data", "along_data", "8_along_data", {
            "8.1": "all trajectories near a given one", "8.2": "how long a forecast stays near the truth",
            "8.3": "contraction over windows of data"}),
        ("data", "containment", "8_along_data", {"8.4": "what no free run leaves"}),
        ("gradient", "teacher_forcing", "12_teacher_forcing", {
            "12.1": "the Jacobian of a forced run", "12.2": "the forcing from which on gradients are bounded",
            "12.3": "a floor under the gradient of a forced run"}),
        ("rate", "parallel_in_time", "9_sweeps", {"9.1": "how many sweeps over a sequence are enough"}),
        ("engine", "outward_rounding", "10_rounding", {
            "10.1": "bounds are rounded outward", "10.2": "the rounding of G", "10.3": "the rounding of an adjoint"}),
        ("engine", "engine_functions", "6_discretization", {
            "psi": "one unit's worst growth", "G": "one gate's worst growth", "gamma": "the largest of G", "beta": "its slope",
            "chi": "the gate's share", "A": "a sum over steps"}),
    ):  # fmt: skip
        folder = "" if test == "schemes" else "properties/"
        for number, title in titles.items():
            found.append(Statement(number, title, group, f"theory/{script}.py", f"tests/{folder}test_{test}.py"))
    return tuple(found)


STATEMENTS: dict[str, Statement] = {s.number: s for s in _all()}


def statement(label: str) -> Statement:
    """The statement of an audit's row, whose label may end in 'a posteriori'; ValueError for one that there is not.

    Examples
    --------
    >>> statement("J2 a posteriori").title
    '||J||_inf, by the gates met'
    """
    number = label.removesuffix(" a posteriori")
    if number not in STATEMENTS:
        raise ValueError(f"statement={label!r}: the statements are {', '.join(STATEMENTS)}.")
    return STATEMENTS[number]
