"""One HTML page about a trained surrogate, with its plots inside: ``lemode report model.lem``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from markupsafe import Markup

from .. import plots, systems
from ..analysis import (
    AuditReport,
    audit,
    contraction_certificate,
    convergence_study,
    lyapunov_bounds,
    lyapunov_spectrum,
    timescales,
    trapping_region,
)
from ..conv import ConvLEM
from ..kernels.fields import windows
from ..lem import LEM
from ..metrics import spectrum_distance, spectrum_excess
from ..surrogate import Surrogate
from ..surrogate.data import as_table, in_coordinates
from ..surrogate.field_network import FieldNetwork
from ..surrogate.field_readout_network import FieldReadoutNetwork
from ..surrogate.network import both_ends
from ..surrogate.reading import Table
from ..surrogate.readout_network import ReadoutNetwork
from ..surrogate.side_by_side import SideBySide
from ..trajectories import Trajectories
from ..types import FloatArray
from .csv_file import read_csv
from .page import audit_tables, figure, plot, render

__all__ = ["audit_surrogate", "read_series", "write_report"]

# of one series of a field, each of whose points is a sequence, the first so many samples are audited
POINT_SAMPLES = 300


def write_report(
    model: Surrogate, out: Path, data: Path | None = None, system: str | None = None, title: str = "model"
) -> None:
    """Write one self-contained HTML page: training, free run, time scales, audit, stability; plots are inside as PNG.

    Parameters
    ----------
    model : fitted Surrogate with a LEM
    out : path of the page
    data : path, optional
        Series to test on, see `read_series`.
    system : str, optional
        Name of a system in `lemode.systems` that makes eight series of 1,000 samples; its time scales are drawn, too. Without data and
        system, what needs data is left out and the audit is on white noise.
    title : str

    Raises
    ------
    ValueError
        For data or a system without the model's variables, and for a field surrogate with recurrent kernels wider than 1.
    TypeError
        If the model's core is no LEM.

    Examples
    --------
    >>> import tempfile
    >>> wave = np.sin(np.linspace(0, 60, 601)).reshape(1, -1, 1)
    >>> model = lemode.Surrogate(hidden_size=2, steps=5, window=50, washout=10, batch_size=4, verbose=0, train="all").fit(wave)
    >>> page = Path(tempfile.mkdtemp()) / "report.html"
    >>> write_report(model, page, title="wave")
    >>> "<h1>wave" in page.read_text(encoding="utf-8")
    True
    """
    x, u, known, source = _test_series(model, data, system)
    sections = [section(model, x, u, known) for section in (_training, _free_run, _scales, _audit, _stability)]
    settings = [[k, v] for k, v in model.get_params().items() if k not in ("verbose", "warm_start")]
    size = sum(p.numel() for p in model.network_.parameters())
    facts = [["variables", _listed(model.names_)], ["inputs", ", ".join(model.input_names_) or "none"],
             ["sampling interval", f"{model.step_:g}"], ["parameters", f"{size:,}"], ["tested on", source]]  # fmt: skip
    page = render("page.html", title=title, facts=facts, sections=sections, settings=settings)
    out.write_text(page, encoding="utf-8")


def _test_series(
    model: Surrogate, data: Path | None, system: str | None
) -> tuple[FloatArray | None, FloatArray | None, dict[str, float], str]:
    """Series ``(n, T, D)``, inputs, known time scales, and where they are from."""
    if data is not None:
        return *read_series(data, model.names_, model.input_names_, model.table_), {}, data.name
    if system is None:
        return None, None, {}, "no data"
    made = systems.get(system)
    names = (*model.names_, *model.input_names_)
    # a system without them is refused before it is solved at length
    made.trajectories(1, model.step_ * np.arange(2), seed=1).select(names)
    series = made.trajectories(8, model.step_ * np.arange(1000), seed=1).select(names).x
    D = len(model.names_)
    u = series[..., D:] if model.input_names_ else None
    return series[..., :D], u, made.time_scales, f"8 series of 1,000 samples of {type(made).__name__}, seed 1"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names if len(names) <= 8 else (*names[:3], "...", names[-1]))


def _joined(x: FloatArray, u: FloatArray | None) -> FloatArray:
    return x if u is None else np.concatenate([x, u], -1)


def _training(model: Surrogate, x: FloatArray | None, u: FloatArray | None, known: dict[str, float]) -> Markup:
    history = model.history_
    return render("training.html", history=history, errors=plot(lambda ax: plots.training_history(history, ax)))


def _free_run(model: Surrogate, x: FloatArray | None, u: FloatArray | None, known: dict[str, float]) -> Markup:
    if x is None:
        return Markup()
    T, dt = x.shape[1], model.step_
    warm = max(model.warmup_, T // 5)
    t = dt * np.arange(T)
    everything = Trajectories(t, _joined(x, u), (*model.names_, *model.input_names_))
    errors = _errors(model, everything, x)
    if warm + 2 > T:
        return render("free_run.html", errors=errors, traces=[])
    history = Trajectories(t[:warm], everything.x[:, :warm], everything.names)
    free = model.forecast(history, T - warm, None if u is None else u[:, warm:])
    truth = x[:, warm:]
    spread = truth.std((0, 1))
    moves = spread > 0
    if moves.any():
        with np.errstate(over="ignore", invalid="ignore"):
            relative = np.sqrt(np.mean(((free - truth)[..., moves] / spread[moves]) ** 2))
        errors.append([f"error of a free run of {T - warm} steps, in standard deviations of the series", f"{relative:.3e}"])
    else:
        errors.append(["free run", "the series stand still: there is nothing to be compared with"])
    D, channels = len(model.names_), getattr(model.network_, "channels", 1)
    traces = [
        plot(partial(plots.forecast, t, x[0, :, i], t[warm:], free[0, :, i], model.names_[i]))
        for i in (range(min(D, 3)) if channels == 1 else range(0, D, D // channels))
    ]
    finite = bool(np.isfinite(free).all())
    if finite and len(free[0]) >= 64:
        errors += _spectra(free[..., moves], truth[..., moves], dt)
    summary = _summary(model, t[warm:], truth, free, channels) if finite else []
    exponents = None
    if finite and not model.input_names_:
        spectrum = lyapunov_spectrum(model, x[0, :warm].astype(np.float64), 1000, k=min(3, D + 1))
        exponents = plot(lambda ax: plots.lyapunov_convergence(spectrum, ax=ax))
    return render("free_run.html", errors=errors, warm=warm, traces=traces, finite=finite, summary=summary, exponents=exponents)


def _spectra(free: FloatArray, truth: FloatArray, dt: float) -> list[list[str]]:
    """What the power alone does not show: another rhythm, or one that is not in the series at all."""
    runs = free.std((0, 1)) > 1e-9 * truth.std((0, 1))  # a variable that rests has no spectrum
    if not runs.any():
        return [["power spectra", "the free run stands still"]]
    distance, excess = (f(free[..., runs], truth[..., runs], dt).max() for f in (spectrum_distance, spectrum_excess))
    return [["distance of the power spectra, of the worst variable: 0 alike, 1 apart", f"{distance:.2g}"],
            ["most power beyond that of the series at a frequency, in decades", f"{excess:.2g}"]]  # fmt: skip


def _errors(model: Surrogate, everything: Trajectories, x: FloatArray) -> list[list[str]]:
    """One-step errors: of few variables of each, in its unit; of a field over all points."""
    one = getattr(model.network_, "channels", 0) > 0 or len(model.names_) > 8
    found = np.atleast_1d(model.rmse(everything, multioutput="pooled" if one else "raw_values"))
    still = np.atleast_1d(np.sqrt(np.mean(np.diff(x, axis=1) ** 2, None if one else (0, 1))))
    rows = []
    for name, error, persistence in zip([""] if one else model.names_, found, still, strict=True):
        of, unit = f" of {name}" if name and len(model.names_) > 1 else "", model.table_.units.get(name, "")
        rows += [[f"RMSE one step ahead{of}", f"{error:.3e} {unit}"],
                 [f"persistence{of}, x[k + 1] = x[k]", f"{persistence:.3e} {unit}"]]  # fmt: skip
    return rows


def _summary(model: Surrogate, t: FloatArray, truth: FloatArray, free: FloatArray, channels: int) -> list[str]:
    """What shows a whole run at once: phase plane, space and time, power spectrum."""
    found = []
    if len(model.names_) == 2:
        names = model.names_[0], model.names_[1]
        found.append(plot(lambda ax: plots.phase_plane(truth[0], free[0], names=names, ax=ax), (4.5, 4.2)))
    if len(model.names_) >= 8:
        for a, b in zip(np.split(truth[0], channels, -1), np.split(free[0], channels, -1), strict=True):
            found.append(figure(plots.spacetime(t, a, b)[0].figure))
    if len(t) >= 64:
        found.append(plot(lambda ax: plots.spectra(truth[..., 0], free[..., 0], model.step_, ax)))
    return found


def _scales(model: Surrogate, x: FloatArray | None, u: FloatArray | None, known: dict[str, float]) -> Markup:
    if x is None:
        return Markup()
    scales = timescales(_core(model), _read_by_core(model, x, u), dt_physical=model.step_, known=list(known.values()))
    medians = [[layer, name, *(f"{v:.4g}" for v in np.quantile(values, scales.quantiles))]
               for layer, pair in enumerate(scales.median) for name, values in zip("zy", pair)]  # fmt: skip
    covered = [[name, f"{k.scale:.4g}", f"{k.units_within_2:.0%}", f"{k.visits_within_2:.0%}",
                f"{k.nearest[1]}[{k.nearest[2]}] of layer {k.nearest[0]}, at {k.nearest_scale:.4g}"]
               for name, k in zip(known, scales.known)]  # fmt: skip
    missed = [f"{name} ({k.scale:.3g})" for name, k in zip(known, scales.known) if k.units_within_2 == 0]
    return render(
        "time_scales.html",
        histogram=plot(lambda ax: plots.time_scale_histogram(scales, tuple(known), ax)),
        levels=tuple(f"{100 * q:.0f} %" for q in scales.quantiles),
        medians=medians,
        covered=covered,
        missed=missed,
    )


def _audit(model: Surrogate, x: FloatArray | None, u: FloatArray | None, known: dict[str, float]) -> Markup:
    report = audit_surrogate(model, x, u)
    flow = plot(lambda ax: plots.gradient_flow(report, ax=ax), (7, 4))
    return render("audit.html", report=report, groups=audit_tables(report), flow=flow)


def _stability(model: Surrogate, x: FloatArray | None, u: FloatArray | None, known: dict[str, float]) -> Markup:
    core = _core(model)
    read = None if x is None else _read_by_core(model, x, u)
    states = None
    if read is not None:
        with torch.no_grad():
            states = core.states(read)
    layers = []
    for k, cell in enumerate(core.layers()):
        layer_input = read if k == 0 or states is None else states[k - 1][0]
        layers.append((contraction_certificate(cell, layer_input), lyapunov_bounds(cell, layer_input)))
    cell = core.layers()[0]
    few = read[:8, 0].double() if read is not None else torch.zeros(8, cell.ode.input_size, dtype=torch.float64)
    study = convergence_study(cell.ode, few, scheme=cell.scheme.name, dt=cell.dt, steps=len(few))
    order = plot(lambda ax: plots.order_plot(study, ax))
    return render("stability.html", layers=layers, dt=cell.dt, samples=len(few), order=order, region=trapping_region(model))


# -- the model's core and what it reads ------------------------------------------------------------------------------


def _core(model: Surrogate) -> LEM:
    core = model.network_.core
    if isinstance(core, ConvLEM):  # the statements are about what each point of the grid runs
        return core.pointwise()
    if isinstance(core, SideBySide):
        return core.dense()
    if not isinstance(core, LEM):
        raise TypeError(f"the model's core is {type(core).__name__}: the statements are about LEM.")
    return core


def _read_by_core(model: Surrogate, x: FloatArray, u: FloatArray | None) -> torch.Tensor:
    """The core's own input ``(T - 1, n, m)``: with delays and known inputs it is what the network hands it."""
    net = model.network_
    m = len(net.input_std)
    if (0 if u is None else u.shape[-1]) != m:
        raise ValueError(f"the model reads {m} known inputs: give them as 'u' (n, T, {m}) in a .npz file, beside 'x'.")
    series = net.normalise(_time_first(_coordinates(model, x)))
    inputs = net.normalise_inputs(_time_first(u)) if u is not None else series[..., :0]
    return _hand_over(model, series, inputs)


def _coordinates(model: Surrogate, x: FloatArray) -> FloatArray:
    """The variables as the network has them; in a season they begin where the data of the fit began."""
    t = model.step_ * np.arange(x.shape[1], dtype=np.float64)
    return in_coordinates(Trajectories(t, x, model.names_), model.table_)[0].x


def _hand_over(model: Surrogate, series: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    net = model.network_
    if isinstance(net, FieldNetwork):
        series, inputs = series[:POINT_SAMPLES, :1], inputs[:POINT_SAMPLES, :1]
    dtype = net.mean.dtype
    with torch.no_grad():
        e = both_ends(inputs.to(dtype))[:-1] if len(net.input_std) else None
        held = net.held(series[:-1].to(dtype))
        if isinstance(net, FieldReadoutNetwork):
            return windows(net.core_input(net.base(held)), torch.Size(net.kernel), circular=True)
        read = net.core_input(held, e)
    return net.core.windows(read) if isinstance(net.core, ConvLEM) else read


def audit_surrogate(model: Surrogate, x: FloatArray | None = None, u: FloatArray | None = None) -> AuditReport:
    """The audit of a surrogate's core on the loss it was trained with: scaled increments through the linear head.

    Parameters
    ----------
    model : fitted Surrogate
    x : (n, T, D), optional
        Series in the units of the data; white noise with the mean and variance of the training data by default, which the notes say.
    u : (n, T, m), optional
        The known inputs beside x, where the model has some.

    Returns
    -------
    lemode.analysis.AuditReport

    Raises
    ------
    TypeError
        If the model's core is no LEM.
    ValueError
        If the inputs do not fit the model.

    Examples
    --------
    >>> wave = np.sin(np.linspace(0, 60, 601)).reshape(1, -1, 1)
    >>> model = lemode.Surrogate(hidden_size=2, steps=5, window=50, washout=10, batch_size=4, verbose=0, train="all").fit(wave)
    >>> audit_surrogate(model, wave[:, :30]).holds
    True
    """
    net, core = model.network_, _core(model)
    notes = []
    if x is None:
        # in normalised variables the training data have mean 0 and variance 1
        rng = np.random.default_rng(0)
        series, inputs = (torch.from_numpy(rng.standard_normal((300, 8, k))) for k in (model.table_.width, len(net.input_std)))
        notes.append("no data given: white noise with the mean and variance of the training data.")
        read = _hand_over(model, series, inputs)
    else:
        read, series = _read_by_core(model, x, u), net.normalise(_time_first(_coordinates(model, x)))
    target = (series[1:] - series[:-1]) / net.increment
    head = net.head.weight.detach().double().numpy(), net.head.bias.detach().double().numpy()
    pointwise = not isinstance(net, ReadoutNetwork | FieldReadoutNetwork)
    if not pointwise:
        notes.append("the loss of the audit is |y|^2 / 2: the head of a readout reads z and the series beside y.")
    if isinstance(net, FieldNetwork):
        notes.append("every point of the grid is a sequence, and what its kernel sees the input.")
        target = net.by_point(target[: len(read), :1]).flatten(1, -2)
        if net.conserve is not None:
            pointwise = False
            notes.append(
                "the loss of the audit is |y|^2 / 2: the increment that was trained is a difference between neighbours."
            )
    report = audit(core, read, target, readout=head) if pointwise else audit(core, read)
    report.notes[:0] = [*notes, f"the surrogate: {trapping_region(model)}."]
    return report


def read_series(
    path: Path, names: tuple[str, ...], inputs: tuple[str, ...] = (), table: Table | None = None
) -> tuple[FloatArray, FloatArray | None]:
    r"""The model's variables ``(n, T, D)`` and known inputs ``(n, T, m)``, if there are any, from a file.

    A CSV file has a column for each, in any order, see `lemode.report.csv_file.read_csv`; it is compared with the training data of the
    table. An array has the variables in the order of the names.

    Raises
    ------
    ValueError
        For another kind of file, one without the model's variables, or shapes that do not fit.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "series.csv"
    >>> _ = path.write_text("w,v\n0.0,1.0\n0.1,0.9\n0.2,0.8\n")
    >>> x, u = read_series(path, names=("v", "w"))  # in the model's order
    >>> x[0, 0], u is None
    (array([1., 0.]), True)
    """
    u = None
    if path.suffix == ".csv":
        read = Table((*names, *inputs), names, inputs) if table is None else table
        try:
            data, _ = as_table(read_csv(path, read.read), read, even="a report")
        except ValueError as e:
            raise ValueError(str(e) if str(path) in str(e) else f"{path}: {e}") from e
        x, u = data.x[..., : len(names)], data.x[..., len(names) :] if inputs else None
    elif path.suffix in (".npy", ".npz"):
        content = np.load(path, allow_pickle=False)
        if path.suffix == ".npz" and "x" not in content:
            raise ValueError(f"{path}: has no array 'x' (it has {', '.join(content) or 'none'}).")
        x = content["x"] if path.suffix == ".npz" else content
        if path.suffix == ".npz" and "u" in content:
            u = np.asarray(content["u"], dtype=np.float64)
            u = u[None] if u.ndim == 2 else u
    else:
        raise ValueError(f"{path}: give a .npy, .npz or .csv file.")
    x = np.asarray(x[None] if x.ndim == 2 else x, dtype=np.float64)
    if x.ndim != 3 or x.shape[2] != len(names) or x.shape[1] < 2:
        raise ValueError(
            f"{path}: holds {x.shape}; give (n, T, D) or (T, D) with D = {len(names)} ({', '.join(names)}) and T >= 2."
        )
    if u is not None and (u.ndim != 3 or u.shape[:2] != x.shape[:2]):
        raise ValueError(f"{path}: 'u' has shape {u.shape}, 'x' {x.shape}: give u (n, T, m) beside x (n, T, D).")
    return x, u


def _time_first(x: FloatArray) -> torch.Tensor:
    return torch.from_numpy(np.array(x.swapaxes(0, 1), dtype=np.float64, order="C"))  # a copy: series may be read-only
