"""Kuramoto-Sivashinsky and Burgers: order of convergence, independent solvers, exact solutions, conservation, resolution."""

import dataclasses
import warnings

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lemode.analysis.lyapunov import spectrum_of_map
from lemode.systems import Burgers, KuramotoSivashinsky, ResolutionWarning, SolveError
from lemode.systems.etdrk4 import ETDRK4


@pytest.fixture(scope="module")
def on_attractor():
    return KuramotoSivashinsky().sample_initial(4, np.random.default_rng(0))


class TestETDRK4:
    def test_coefficients_at_and_far_from_zero(self):
        # at c = 0 the scheme is the classical Runge-Kutta method: Q = h/2, f1 = h/6, f2 = h/6, f3 = h/6
        s = ETDRK4(np.array([0.0, -1e-9, -1e4]), 0.1)
        for value, limit in ((s.Q, 0.05), (s.f1, 0.1 / 6), (s.f2, 0.1 / 6), (s.f3, 0.1 / 6)):
            assert value[:2] == pytest.approx(limit, rel=1e-8)
        c = -1e3  # far from zero the formula as it stands is accurate
        assert s.f1[2] == pytest.approx(0.1 * (-4 - c) / c**3, rel=1e-10)

    @pytest.mark.parametrize("c", [-2.0, -0.01, 2j, 0.5 + 1j])
    def test_order_4_on_a_scalar(self, c):
        # v' = c v + v^2 has the solution c v0 e^ct / (c + v0 (1 - e^ct))
        v0, errors = 0.3, []
        exact = c * v0 * np.exp(c) / (c + v0 * (1 - np.exp(c)))
        for n in (8, 16, 32):
            scheme, v = ETDRK4(np.array([c]), 1 / n), np.array([v0 + 0j])
            for _ in range(n):
                v = scheme.step(v, lambda w: w**2)
            errors.append(abs(v[0] - exact))
        rates = np.log2(np.divide(errors[:-1], errors[1:]))
        assert (np.abs(rates - 4) < 0.3).all()


class TestKuramotoSivashinsky:
    def test_order_4(self, on_attractor):
        ends = {
            h: dataclasses.replace(KuramotoSivashinsky(), step=1 / h).solve(on_attractor[:1], [0.0, 0.5])[:, -1]
            for h in (64, 128, 256, 1024)
        }
        errors = [np.abs(ends[h] - ends[1024]).max() for h in (64, 128, 256)]
        rates = np.log2(np.divide(errors[:-1], errors[1:]))
        assert rates[1] == pytest.approx(4, abs=0.4)  # asymptotically; 3.3 at steps where the waves of q^4 h = 1 carry weight
        assert errors[-1] < 1e-8

    def test_radau_on_the_galerkin_system_in_modes(self, on_attractor):
        # the Galerkin system written down for the cosine and sine amplitudes, by sums over pairs: no grid, no transform
        s = KuramotoSivashinsky(N=24)
        q = s.wavenumbers[1:12]
        c0 = np.fft.rfft(on_attractor[0])[1:12] / 64

        def rhs(t, y):
            c = y[:11] + 1j * y[11:]
            full = np.concatenate([np.conj(c[::-1]), [0], c])  # wavenumbers -11 .. 11
            square = np.convolve(full, full)[23:34]  # 1 .. 11 of -22 .. 22
            f = (q**2 - q**4) * c - 0.5j * q * square
            return np.concatenate([f.real, f.imag])

        y = solve_ivp(rhs, (0, 2), np.concatenate([c0.real, c0.imag]), method="Radau", rtol=1e-9, atol=1e-11).y[:, -1]
        u0 = np.fft.irfft(np.concatenate([[0], c0, [0]]) * 24, 24)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResolutionWarning)  # 24 points are few, for both
            u = dataclasses.replace(s, step=0.005).solve(u0, [0.0, 2.0])[-1]
        np.testing.assert_allclose(np.fft.rfft(u)[1:12] / 24, y[:11] + 1j * y[11:], atol=1e-7)

    def test_default_step_against_radau_on_the_grid(self, on_attractor):
        s, t = KuramotoSivashinsky(N=32), [0.0, 1.0]
        u0 = np.fft.irfft(np.fft.rfft(on_attractor[0])[:17] / 2, 32)
        assert np.abs(s.solve(u0, t) - s.solve(u0, t, method="Radau", rtol=1e-9, atol=1e-10)).max() < 2e-6

    @pytest.mark.parametrize("N", [32, 33])
    def test_conserves_the_mean_and_the_symmetries(self, N):
        s, t = KuramotoSivashinsky(N=N), np.linspace(0, 20, 5)
        u0 = 0.3 + np.cos(2 * np.pi * s.grid / s.L) + 0.5 * np.sin(4 * np.pi * s.grid / s.L)
        u = s.solve(u0, t)
        np.testing.assert_allclose(u.mean(-1), u0.mean(), atol=1e-13)
        np.testing.assert_allclose(s.solve(np.roll(u0, 3), t), np.roll(u, 3, -1), atol=1e-9)  # chaos amplifies rounding

        def reflect(v):
            return -np.roll(v[..., ::-1], 1, -1)  # u(x) to -u(-x)

        np.testing.assert_allclose(s.solve(reflect(u0), t), reflect(u), atol=1e-9)

    def test_flow_map_and_its_jacobian(self, on_attractor):
        s = KuramotoSivashinsky(step=0.1)
        flow = s.flow_map(0.5)
        np.testing.assert_allclose(flow(on_attractor), s.solve(on_attractor, [0.0, 0.5])[:, -1], atol=1e-12)
        J = flow.jacobian(on_attractor)
        d = np.random.default_rng(1).normal(size=on_attractor.shape)
        difference = (flow(on_attractor + 1e-5 * d) - flow(on_attractor - 1e-5 * d)) / 2e-5
        np.testing.assert_allclose(J @ d[..., None], difference[..., None], atol=1e-7)  # third derivatives times 1e-10
        new, Q = flow.tangent(on_attractor, np.stack([d, -d], -1))
        np.testing.assert_allclose(Q, np.stack([J @ d[..., None], -J @ d[..., None]], -1)[..., 0, :], atol=1e-12)
        np.testing.assert_allclose(new, flow(on_attractor), atol=1e-13)

    def test_exponents_of_the_state_of_rest(self):
        # at u = 0 the exponents are q^2 - q^4 of each wavenumber, twice but for the mean, and the solver is exact
        s = KuramotoSivashinsky(N=16, step=0.5)
        flow = s.flow_map(0.5)
        spectrum = spectrum_of_map(flow, np.zeros(16), 400, jacobian=flow.jacobian, dt=0.5, transient=400)
        q = s.wavenumbers[1:8]
        exact = np.sort(np.concatenate([[0.0], np.repeat(q**2 - q**4, 2), s.symbol(s.wavenumbers[8:])]))[::-1]
        np.testing.assert_allclose(spectrum.exponents[:8], exact[:8], atol=2e-3)  # the transient leaves O(1/t)
        assert spectrum.exponents.sum() == pytest.approx(exact.sum(), rel=1e-9)

    @pytest.mark.slow
    def test_largest_exponent(self):
        # in short: 16 members of 200 time units; three standard errors are 0.02
        s = KuramotoSivashinsky(N=32, step=0.25)
        flow = s.flow_map(1.0)
        x0 = s.sample_initial(16, np.random.default_rng(0))
        spectrum = spectrum_of_map(flow, x0, 200, jacobian=flow.jacobian, dt=1.0, transient=30, k=3)
        assert spectrum.exponents[0] == pytest.approx(KuramotoSivashinsky.facts["lambda_1"].value, abs=0.02)
        assert np.abs(spectrum.exponents[1:]).max() < 0.02

    def test_uneven_times(self, on_attractor):
        s = KuramotoSivashinsky()
        t = np.array([1.0, 1.01, 1.5, 3.0])
        u = s.solve(on_attractor[0], t)
        np.testing.assert_array_equal(u[0], on_attractor[0])
        np.testing.assert_allclose(u[2], s.solve(on_attractor[0], [0.0, 0.5])[1], atol=1e-6)
        data = s.trajectories(2, np.arange(0, 3, 1.0), seed=1)
        assert data.x.shape == (2, 3, 64)
        assert data.names[-1] == "u63"


class TestBurgers:
    def test_against_the_exact_solution(self):
        s, t = Burgers(), np.array([1.0, 1.5, 2.0, 4.0])
        u0 = 0.4 + np.sin(s.grid) + 0.5 * np.cos(2 * s.grid)
        exact = s.exact(u0, t)
        np.testing.assert_allclose(exact[0], u0, atol=1e-8)
        # 6e-8 of the step of 0.005, at steepening
        np.testing.assert_allclose(s.solve(u0, t), exact, atol=2e-7)
        errors = [
            np.abs(dataclasses.replace(s, step=h).solve(u0, t) - s.exact(u0, t)).max() for h in (0.04, 0.02)
        ]  # fmt: skip
        assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.5)

    def test_the_exact_solution_satisfies_the_equation(self):
        s, h = Burgers(N=96), 1e-3
        u0 = np.cos(s.grid) - 0.3
        u = s.exact(u0, np.array([0.0, 0.7 - h, 0.7, 0.7 + h]))
        # central difference: h^2/6 u_ttt
        np.testing.assert_allclose((u[3] - u[1]) / (2 * h), s.rhs(0.0, u[2]), atol=2e-5)

    def test_random_starts_are_resolved(self):
        s = Burgers()
        u0 = s.sample_initial(20, np.random.default_rng(0))
        np.testing.assert_allclose(u0.mean(-1), 0, atol=1e-15)
        np.testing.assert_allclose(np.mean(u0**2, -1), 1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            u = s.solve(u0, [0.0, 0.5, 1.0])
        assert np.abs(u[0] - s.exact(u0[0], [0.0, 0.5, 1.0])).max() < 1e-5


class TestBadInput:
    def test_too_few_points_warn_with_the_tail(self):
        for system in (
            KuramotoSivashinsky(N=16, step=0.1),
            Burgers(N=24, nu=0.02),
            KuramotoSivashinsky(L=60, N=32, step=0.1),
        ):
            u0 = np.sin(2 * np.pi * system.grid / system.L) + 0.1 * np.cos(4 * np.pi * system.grid / system.L)
            with pytest.warns(
                ResolutionWarning, match=r"spectrum is still at 0\.\d+ of its maximum.*Take more points, N="
            ) as w:
                system.solve(u0, [0.0, 1.0, 30.0])
            assert w[0].filename == __file__

    def test_enough_points_do_not(self, on_attractor):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            KuramotoSivashinsky().solve(on_attractor, [0.0, 5.0])

    def test_blow_up_says_when(self):
        s = KuramotoSivashinsky(N=32, step=1.0)
        with pytest.raises(SolveError, match=r"between t=0 and 50.*step smaller than 1"):
            s.solve(1e3 * np.cos(2 * np.pi * s.grid / s.L), [0.0, 50.0])

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: KuramotoSivashinsky(N=4), "N=4: give at least 8"),
            (lambda: KuramotoSivashinsky(L=-1.0), "L=-1.0"),
            (lambda: KuramotoSivashinsky(step=np.nan), "step=nan"),
            (lambda: Burgers(nu=0.0), "nu=0.0"),
            (lambda: KuramotoSivashinsky().solve(np.zeros(3), [0, 1]), r"x0 has shape \(3,\)"),
            (lambda: KuramotoSivashinsky().flow_map(0.0), "dt=0.0"),
        ],
    )
    def test_parameters(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()
