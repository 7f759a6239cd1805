"""A right-hand side that is none is found before or while it is integrated, with t and x, and never by waiting."""

import numpy as np
import pytest

import lemode
from lemode.systems import CallableSystem, SolveError, VanDerPol, silent, watch

METHODS = ["DOP853", "RK45", "Radau", "BDF", "LSODA"]
T = np.linspace(0.0, 2.0, 21)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # numpy, of the right-hand side itself: inf * 0
def test_a_right_hand_side_that_is_not_finite_at_the_start(method, bad):
    for make in (
        lambda: CallableSystem(lambda t, x: x * bad + bad, 2).solve([1.0, 0.5], T, method=method),
        lambda: lemode.fit(lambda t, x: x * bad + bad, x0=[1.0, 0.5], t=T, method=method, verbose=0, size="small"),
    ):
        with pytest.raises(ValueError, match=rf"rhs returned {bad} at t=0, x=\[1\.  0\.5\], where the solution starts"):
            make()


@pytest.mark.parametrize("method", METHODS)
def test_a_right_hand_side_that_is_not_finite_later(method):
    """From t = 1 on; a trial step that leaves the domain is taken back, one that must leave it is reported."""
    system = CallableSystem(lambda t, x: np.where(t > 1, np.nan, -x), 2)
    with pytest.raises(SolveError, match=rf"{method} .*rhs returned nan at t=1\S*, x="):
        system.solve([1.0, 0.5], T, method=method)
    square_root = CallableSystem(lambda t, x: -np.sqrt(x), 1, probe=[1.0])  # x(t) = (1 - t/2)^2 reaches 0 at t = 2
    x = square_root.solve([1.0], [0.0, 1.0, 1.9], method=method, rtol=1e-6, atol=1e-9)
    assert x[-1, 0] == pytest.approx(0.05**2, rel=1e-2)  # the slope doubles errors 20 times on the way down


def test_a_solver_that_would_never_give_up_is_stopped():
    """scipy's own do, after some fifty smaller steps; a thousand in a row are not the edge of a domain."""
    with watch.Watch(lambda t, y: y * np.nan, (1, 1), "ForEver", 0.0, 1.0) as rhs:
        for _ in range(1000):
            rhs(0.5, np.ones(1))
        with pytest.raises(
            SolveError, match=r"ForEver does not get on: rhs returned nan at t=0\.5, x=\[1\.\]\. Check rhs there"
        ):
            rhs(0.5, np.ones(1))


def test_one_trajectory_of_a_batch_is_named():
    with pytest.raises(ValueError, match=r"rhs returned nan at t=0, x=\[-1\.\]"):
        CallableSystem(lambda t, x: np.sqrt(x), 1).solve([[1.0], [-1.0], [2.0]], T)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("rhs", "what"),
    [
        (lambda t, x: None, "NoneType"),
        (lambda t, x: "fast", "str"),
        (lambda t, x: x[:1], r"shape \(1,\)"),
        (lambda t, x: 0.0, r"shape \(\)"),
        (lambda t, x: [x, x], r"shape \(2, 2\)"),
        (lambda t, x: [x, 0.0], "no real numbers"),
        (lambda t, x: 1j * x, "no real numbers"),
    ],
)
def test_what_is_no_derivative(rhs, what, method):
    with pytest.raises(ValueError, match=rf"rhs returned {what} at t=0, x=\[.*one real derivative per variable, shape \(2,\)"):
        CallableSystem(rhs, 2)
    later = CallableSystem(lambda t, x: rhs(t, x) if t > 1 else [-x[0], -x[1]] if x.ndim == 1 else None, 2)
    with pytest.raises(ValueError, match=rf"rhs returned {what} at t=1\.?\d*, x=\["):
        later.solve([1.0, 0.5], T, method=method)


def test_the_fit_refuses_a_drive():
    """A surrogate sees no time. What depends on it must be an input; a callable that merely reads t is no drive."""
    for drive in (np.sin, lambda t: t > 1.5, lambda t: 1e-3 * t):

        def rhs(t, x, drive=drive):
            return np.stack([x[1], -x[0] + drive(t)])

        with pytest.raises(ValueError, match=r"rhs depends on t: at x=\[1\. 0\.\].*make the drive an input.*inputs="):
            lemode.fit(rhs, x0=[1.0, 0.0], t=T, verbose=0, size="small")
    period = 2.0 / 6  # of the whole span: a grid of sevenths alone would meet the same phase
    with pytest.raises(ValueError, match="rhs depends on t"):
        lemode.fit(lambda t, x: -x + np.sin(2 * np.pi * t / period + 0.1), x0=[1.0], t=T + 0.05 * T, verbose=0, size="small")
    model = lemode.fit(lambda t, x: -x + 0 * t, x0=[1.0], t=T, n=5, steps=2, verbose=0, size="small")
    assert np.isfinite(model.report_["rmse"])
    x = CallableSystem(lambda t, x: 0 * x + np.cos(t), 1).solve([0.0], T)  # solving it is another matter
    np.testing.assert_allclose(x[:, 0], np.sin(T), atol=1e-9)


@pytest.mark.slow
def test_a_stiff_system_says_so_and_radau_is_the_remedy():
    stiff, t = VanDerPol(mu=1000.0), [0.0, 2000.0]
    with pytest.raises(
        SolveError, match=r"at t=\S+ of 2000 after 50,000 evaluations.*stiff \(decay rates from.*method='Radau'"
    ):
        stiff.solve([2.0, 0.0], t, method="DOP853", rtol=1e-6, atol=1e-6)
    with pytest.raises(SolveError, match=r"RK45 .* after 50,000 evaluations.*method='Radau'"):
        CallableSystem(lambda t, x: stiff.rhs(t, x.T).T, 2).solve([2.0, 0.0], t, method="RK45", rtol=1e-6, atol=1e-6)
    assert abs(stiff.solve([2.0, 0.0], t, method="Radau", rtol=1e-4, atol=1e-4)[-1, 0]) < 2.1


@pytest.mark.parametrize(("rate", "stiff"), [(1.0, False), (1e4, True)])
def test_only_decay_that_limits_the_step_is_stiff(monkeypatch, rate, stiff):
    """Steps of 0.1 resolve a decay of rate 1, however many are yet to be done; a rate of 10,000 they do not."""
    monkeypatch.setattr(watch, "CHECK_EVERY", 10)

    def jacobian(t, x):
        return np.broadcast_to(-rate * np.eye(1), (len(x), 1, 1))

    with watch.Watch(lambda t, y: -rate * y, (1, 1), "DOP853", 0.0, 1e9, jacobian) as rhs:
        calls = [lambda k=k: rhs(0.1 / 12 * k, np.ones(1)) for k in range(30)]
        if stiff:
            with pytest.raises(SolveError, match="the system is stiff"):
                [call() for call in calls]
        else:
            assert all(call() == -rate for call in calls)


@pytest.mark.slow
def test_a_long_solve_that_is_not_stiff_goes_on():
    # 200 periods, 9e4 evaluations
    x = CallableSystem(lambda t, x: np.stack([x[1], -x[0]]), 2).solve([0.0, 1.0], [0.0, 400 * np.pi], rtol=1e-12, atol=1e-12)
    assert abs(x[-1, 0]) < 1e-6


class Bars:
    """Stands in for tqdm: what is shown, and how far it gets."""

    made = ()

    def __init__(self, **options):
        self.n, self.total, self.closed = 0.0, options["total"], False
        Bars.made += (self,)

    def update(self, n):
        self.n += n

    def close(self):
        self.closed = True


@pytest.mark.parametrize("method", ["DOP853", "Radau"])
def test_a_slow_solve_shows_its_progress_unless_asked_not_to(monkeypatch, method):
    monkeypatch.setattr("tqdm.auto.tqdm", Bars)
    monkeypatch.setattr(watch, "_screen", lambda: True)
    start = [[1.0, 1.0, 20.0], [2.0, 1.0, 20.0]]
    Bars.made = ()
    lemode.systems.Lorenz63().solve(start, T, method=method, rtol=1e-6)
    assert not Bars.made  # a quick one
    monkeypatch.setattr(watch, "PATIENCE", -1.0)
    with silent():
        lemode.systems.Lorenz63().solve(start, T, method=method, rtol=1e-6)
    lemode.fit(lambda t, x: -x, x0=[1.0], t=T, n=5, steps=2, verbose=0, method=method, size="small")
    assert not Bars.made
    lemode.systems.Lorenz63().solve(start, T, method=method, rtol=1e-6)
    assert Bars.made[-1].n == pytest.approx(Bars.made[-1].total, abs=0.1)  # the last evaluation is within the last step
    assert all(bar.closed for bar in Bars.made)


def test_in_a_file_progress_is_lines_without_control_characters(monkeypatch, capsys):
    monkeypatch.setattr(watch, "PATIENCE", -1.0)
    lemode.systems.Lorenz63().solve([1.0, 1.0, 20.0], T, rtol=1e-6)
    (line,) = capsys.readouterr().err.splitlines()  # the next one would be half a minute later
    assert line == "solve by DOP853: 0%"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: lemode.fit("lorenz63", t=T), TypeError, r"system is a name: .*lemode\.systems\.get\('lorenz63'\)"),
        (lambda: lemode.fit(None), TypeError, r"system is NoneType: give a callable rhs\(t, x\)"),
        (lambda: lemode.fit(np.zeros((5, 9, 1))), TypeError, r"system is ndarray: .*lemode\.Surrogate\(\)\.fit\(data\)"),
        (
            lambda: lemode.fit(lemode.systems.Lorenz63().trajectories(1, T), size="small"),
            ValueError,
            r"1 trajectories: .*at least 5, or use lemode\.Surrogate\(\)\.fit\(data\)",
        ),
    ],
)
def test_the_fit_points_to_what_takes_the_data(make, error, message):
    with pytest.raises(error, match=message):
        make()
