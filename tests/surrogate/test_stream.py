"""Series on disk: the head of all of them, as in memory; what is read, and how; what a stream cannot be."""

import mmap
import sys

import numpy as np
import pytest
import torch

from lemode import FieldSurrogate, Surrogate
from lemode.surrogate import readout, regression, stream, tsqr
from lemode.surrogate.draws import Draw, draw
from lemode.surrogate.readout_network import ReadoutNetwork
from lemode.surrogate.regression import FLOOR, Regression
from lemode.surrogate.series import Grid
from lemode.surrogate.stream import Piece, Stream, as_stream, open_series
from lemode.surrogate.stream_readout import StreamedRegression, extremes

T = 0.1 * np.arange(1500)


def waves(n=6, length=1500):
    """Two incommensurate frequencies, and two variables."""
    phase = np.arange(n)[:, None]
    return np.stack([np.sin(T + phase) + 0.3 * np.sin(2.3 * T + phase), np.cos(T + phase)], -1)[:, :length]


def readouts(**more):
    return Surrogate(**{"hidden_size": 15, "train": "readout", "delays": 0, "verbose": 0} | more)


@pytest.fixture
def small_blocks(monkeypatch):
    """Of 50 samples or so, and a sample of 8 pieces, so that there is something to put together."""
    monkeypatch.setattr(stream, "BLOCK", 600)
    monkeypatch.setattr(stream, "PIECES", 8)
    monkeypatch.setattr(stream, "SAMPLE", 8 * 2 * 300)
    # of the choices of a readout a few, for the sake of time
    monkeypatch.setattr(readout, "DRAWS", readout.DRAWS[:2])
    monkeypatch.setattr(readout, "HEADS", readout.FEW_HEADS)
    return monkeypatch


@pytest.mark.parametrize("inputs", [0, 1])
def test_the_rows_of_a_stream_are_those_of_the_series_in_memory(inputs, monkeypatch):
    """The same triangle by another order of blocks: R of 1,500 rows to rounding, 1e-12 of its size."""
    x = waves(n=3)
    network = ReadoutNetwork(readouts()._core(2 - inputs + 2 * inputs, torch.float64), 2 - inputs, 0, inputs)
    draw(network.core, Draw(), torch.Generator().manual_seed(0))
    raw = torch.from_numpy(x).transpose(0, 1)
    network.set_scales(raw[..., : 2 - inputs], raw[..., 2 - inputs :])
    series = network.series(Grid(x))
    monkeypatch.setattr(regression, "BEGINNINGS", 0)
    monkeypatch.setattr("lemode.surrogate.stream_readout.BEGINNING_WEIGHT", 0.0)
    inside = Regression(network, series, None, torch.Generator().manual_seed(1))
    monkeypatch.setattr(stream, "BLOCK", 3 * 2 * 70)
    pieces = [Piece(i, 0, 1500) for i in range(3)]
    outside = StreamedRegression(network, series, torch.Generator().manual_seed(1), Stream(x), pieces, [0, 1])
    one, other = (np.abs(problem.data[0].R) for problem in (inside, outside))
    np.testing.assert_allclose(other, one, rtol=0, atol=1e-12 * one.max())
    assert outside.data[0].weight == inside.data[0].weight
    pairs = [(0.0, 1e-6), (1e-2, 1e-6), (0.0, FLOOR)]
    torch.testing.assert_close(
        outside.heads(pairs), inside.heads(pairs), rtol=0, atol=1e-8
    )  # their condition, 1e3, times 1e-12


@pytest.mark.usefixtures("small_blocks")
def test_a_memory_map_beyond_the_limit_is_streamed_and_forecasts(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", waves())
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert as_stream(x) is None  # it is small
    monkeypatch.setattr(stream, "LARGE", 1000)
    model = readouts().fit(x)
    assert model.history_.chosen["samples"] == 5 * 1500  # every fifth series is held out
    later = waves()[4]
    error = model.forecast(later[:300], steps=200) - later[300:500]
    assert np.sqrt((error**2).mean()) < 1e-2  # of amplitudes of one; persistence has .9
    read = waves()[[0, 1, 2, 3, 5]]
    assert model.table_.ranges == {name: (read[..., j].min(), read[..., j].max()) for j, name in enumerate(("x0", "x1"))}
    model.save(tmp_path / "m.lem")
    np.testing.assert_array_equal(Surrogate.load(tmp_path / "m.lem").predict(later), model.predict(later))


def test_what_only_the_whole_has_is_in_bounds_and_ranges(small_blocks):
    """One excursion, in no piece of the sample: a forecast may go there, as the data did."""
    x, monkeypatch = waves(n=1), small_blocks
    monkeypatch.setattr(stream, "PIECES", 3)
    monkeypatch.setattr(stream, "SAMPLE", 0)
    seen = {k for p in Stream(x).sample(Stream(x).hold_out()[0]) for k in range(p.begin, p.end)}
    assert 280 not in seen
    x[0, 280, 1] = 3.0
    model = readouts(observe=["v"], inputs=["w"]).fit(Stream(x, names=["w", "v"], interval=0.1))
    assert model.table_.ranges["v"][1] == 3.0
    network = model.network_
    assert float(network.denormalise(network.upper)[0]) > 3.0
    assert (model.names_, model.input_names_, model.step_) == (("v",), ("w",), 0.1)


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_a_stream_is_spread_over_the_jobs_of_joblib(monkeypatch):
    joblib = pytest.importorskip("joblib")
    one = readouts().fit(Stream(waves()))
    monkeypatch.setattr(tsqr, "LEAST", 1e7)  # between that of the choice of the core, on the sample, and that of all rows
    calls = []
    real = StreamedRegression._of_pieces
    monkeypatch.setattr(StreamedRegression, "_of_pieces", lambda *a: calls.append(len(a[1])) or real(*a))
    with joblib.parallel_config("threading", n_jobs=2):
        two = readouts().fit(Stream(waves()))
    assert sorted(calls) == [2, 3]
    later = waves()[4]
    np.testing.assert_allclose(
        two.predict(later), one.predict(later), rtol=0, atol=1e-9
    )  # rounding, 1e-12, by coefficients of 1e3


def test_blocks_overlap_and_miss_nothing(monkeypatch):
    monkeypatch.setattr(stream, "BLOCK", 2 * 7)
    x = np.arange(2 * 23.0).reshape(2, 23, 1)
    for overlap, length in ((0, 23), (1, 23), (1, 8), (1, 2)):
        found = list(Stream(x).blocks([Piece(0, 0, length), Piece(1, 0, length)], overlap))
        whole = np.concatenate([found[0][1], *(block[:, overlap:] for _, block in found[1:])], 1)
        np.testing.assert_array_equal(whole, x[:, :length])
        assert all(block.shape[1] <= 7 + overlap for _, block in found)


def test_extremes_are_those_of_the_pieces_early_and_late(monkeypatch):
    monkeypatch.setattr(stream, "BLOCK", 10)
    x = np.random.default_rng(0).standard_normal((2, 50, 3))
    early, late = extremes(Stream(x), [Piece(0, 0, 50), Piece(1, 10, 50)])
    for found, a, b in ((early, x[0, :40], x[1, 10:42]), (late, x[0, 40:], x[1, 42:])):
        both = np.concatenate([a, b])
        np.testing.assert_array_equal(found, [both.min(0), both.max(0)])


def test_held_out_and_sample_are_apart_and_within():
    for lengths in ([300] * 7, [400], [300, 900, 350]):
        given = Stream([np.zeros((k, 2)) for k in lengths])
        kept, held = given.hold_out()
        taken = {(p.series, k) for p in kept for k in range(p.begin, p.end)}
        assert held
        assert not taken & {(p.series, k) for p in held for k in range(p.begin, p.end)}
        sample = given.sample(kept)
        assert {(p.series, k) for p in sample for k in range(p.begin, p.end)} <= taken
        assert {p.series for p in sample} == {p.series for p in kept}
    with pytest.raises(ValueError, match="5 samples: too short to hold out"):
        Stream(np.zeros((5, 2))).hold_out()


def kinds(folder):
    """The same series in every kind of file whose package is there."""
    x = waves(n=1)[0]
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", x=x, t=T)
    yield "x.npy"
    yield "x.npz"
    try:
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.table({"v": x[:, 0], "w": x[:, 1]})
        parquet.write_table(table, folder / "x.parquet", row_group_size=170)
        yield "x.parquet"
    except ImportError:
        pass
    try:
        import h5py

        with h5py.File(folder / "x.h5", "w") as file:
            file["x"], file["other"] = x, T
        yield "x.h5"
    except ImportError:
        pass
    try:
        import zarr

        zarr.save(str(folder / "x.zarr"), x)
        yield "x.zarr"
    except ImportError:
        pass


def test_every_kind_of_file_is_read_as_the_array_it_holds(tmp_path):
    x = waves(n=1)[0]
    for name in kinds(tmp_path):
        given = Stream(tmp_path / name)
        assert given.length(0) == 1500, name
        np.testing.assert_array_equal(given.read(Piece(0, 160, 521)), x[160:521], err_msg=name)
    shards = Stream([tmp_path / "x.npy", tmp_path / "x.npz"])
    assert len(shards) == 2


def test_files_that_are_none(tmp_path):
    np.savez(tmp_path / "two.npz", a=T, b=T)
    (tmp_path / "x.csv").write_text("v\n1\n")
    with pytest.raises(ValueError, match=r"two.npz: holds a, b; give a file with one array"):
        open_series(tmp_path / "two.npz")
    with pytest.raises(ValueError, match=r"x.csv: give a .npy"):
        open_series(tmp_path / "x.csv")
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_series(tmp_path / "x.npy")
    np.save(tmp_path / "o.npy", np.array([[None]]), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        open_series(tmp_path / "o.npy")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_missing_is_refused_by_its_place(bad):
    x = waves(n=2)
    x[1, 1033, 0] = bad
    with pytest.raises(ValueError, match=f"x holds {bad} in series 1 at time index 1033, variable 'x0'.*repair"):
        readouts().fit(Stream(x))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"train": "auto"}, "train='auto': a Stream is read a block at a time"),
        ({"train": "all"}, "train='all'"),
        ({"scale": "series"}, "scale='series': a Stream has scale='global'"),
        ({"angles": ["x0"]}, r"angles=\['x0'\]"),
        ({"season": 12}, "season=12"),
    ],
)
def test_what_needs_all_in_memory_is_refused(parameters, said):
    with pytest.raises(ValueError, match=said):
        readouts(**parameters).fit(Stream(waves()))


def test_who_reads_no_stream_says_so(small_blocks):
    model = readouts().fit(waves())
    for use in (
        lambda: FieldSurrogate(train="readout").fit(Stream(waves())),
        lambda: model.predict(Stream(waves())),
        lambda: readouts().fit(waves(), validation=Stream(waves())),
        lambda: np.asarray(Stream(waves())),
    ):
        with pytest.raises(ValueError, match="a Stream is read a block at a time"):
            use()


class Columns:
    """A table whose columns have names, as those of parquet do."""

    shape = (5, 2)

    def __init__(self, *names):
        self.names = names


def test_columns_keep_the_names_of_their_file():
    assert Stream([Columns("v", "w"), Columns("v", "w")]).names == ("v", "w")
    assert Stream([Columns("v", "w"), np.zeros((9, 2))]).names == ("v", "w")


def test_labelled_arrays_are_no_streams_however_large(monkeypatch):
    """Their names and the order of their dimensions would be lost."""
    xarray = pytest.importorskip("xarray")
    monkeypatch.setattr(stream, "LARGE", 0)
    assert as_stream(xarray.DataArray(waves(n=1)[0], dims=("time", "variable"))) is None


@pytest.mark.parametrize(
    ("sources", "more", "said"),
    [
        ([], {}, "there are no series"),
        (np.zeros(5), {}, r"source 0 has shape \(5,\)"),
        ([np.zeros((5, 2)), np.zeros((5, 3))], {}, r"source 1 has shape \(5, 3\).*D=2"),
        ([Columns("v", "w"), Columns("w", "v")], {}, r"source 1 has the columns \('w', 'v'\), source 0 \('v', 'w'\)"),
        (Columns("v", "w"), {"names": ["w", "v"]}, r"names=\('w', 'v'\): the columns are \('v', 'w'\)"),
        (np.zeros((5, 2)), {"names": ["v", "v"]}, "give 2 different names"),
        (np.zeros((5, 2)), {"interval": 0.0}, "interval=0"),
    ],
)
def test_what_no_stream_is_made_of(sources, more, said):
    with pytest.raises(ValueError, match=said):
        Stream(sources, **more)


def test_pages_of_a_map_are_let_go_but_not_those_that_were_written(tmp_path):
    np.save(tmp_path / "x.npy", waves(n=1)[0])
    own = np.load(tmp_path / "x.npy", mmap_mode="c")
    own[3] = 7.0
    Stream(own).read(Piece(0, 0, 10))
    assert own[3, 0] == 7.0  # in memory of this process alone


def test_pages_of_no_file_are_not_let_go():
    """Of a private map of memory they would be zeros the next time."""
    x = waves(n=1, length=2000)[0]
    private = mmap.mmap(-1, x.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    own = np.ndarray(x.shape, x.dtype, private)
    own[:] = x
    Stream(own).read(Piece(0, 0, 10))
    np.testing.assert_array_equal(own, x)


@pytest.mark.parametrize(("ending", "package"), [("parquet", "pyarrow"), ("zarr", "zarr"), ("h5", "h5py")])
def test_a_package_that_reads_a_file_and_is_not_there_is_named(monkeypatch, ending, package):
    for name in (package, f"{package}.parquet", f"{package}.types"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"pump\.{ending}: {package} reads it: pip install {package}"):
        open_series(f"pump.{ending}")
