"""A surrogate in C: compiled and run, it says what Python says, to 1e-12 of the size of a variable.

Python's twin computes in float64, as the source does. Both round, in another order: a sum of n products of size a is right to n a 2^-53,
2e-14 for 200 of size one, and thirty steps of networks that do not amplify it much add up to less than 1e-12; seen was 4e-15.
"""

import copy
import ctypes
import shutil
import subprocess

import numpy as np
import pytest
import torch

import lemode
from lemode import export
from lemode.surrogate.readout_network import ReadoutNetwork

CC = next((path for path in map(shutil.which, ("gcc", "cc", "clang")) if path), None)
pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler: gcc, cc or clang")

FEW = {"steps": 3, "window": 20, "washout": 5, "batch_size": 4, "verbose": 0, "train": "all"}
T = np.arange(120.0)
X = np.stack([np.sin(T / 5) + 3, 20 * np.cos(T / 7)], -1)
U = np.where(T % 20 < 9, 1.0, -0.5)[:, None]
XU = np.concatenate([X, U], 1)
TURNS = np.stack([0.3 * T, np.sin(T / 5)], -1)


def fitted(x=X, **settings):
    return lemode.Surrogate(**{**FEW, "hidden_size": 5, "contain": None, **settings}).fit(x)


def readout(delays, units, **settings):
    """A network as that of train='readout', whose fit takes longer, with weights of a size that shows."""
    model, generator = fitted(XU, observe=("x1", "x0"), inputs="x2", **settings), torch.Generator().manual_seed(0)
    model.network_ = network = ReadoutNetwork.like(model.network_, units, delays)
    with torch.no_grad():
        for p in network.parameters():
            p.uniform_(-0.5, 0.5, generator=generator)
        network.head.weight.mul_(0.1)
    return model


# by what they have: schemes, layers, delays, inputs, bounds, outliers, angles, a readout
MODELS = {
    "one layer": lambda: fitted(),
    "16 units, two layers, inputs, delays": lambda: fitted(
        XU, hidden_size=16, num_layers=2, observe=("x0", "x1"), inputs=("x2",), delays=2
    ),
    "float32": lambda: fitted(dtype="float32", hidden_size=8),
    "explicit": lambda: fitted(scheme="explicit", dt=0.5),
    "semi_implicit": lambda: fitted(scheme="semi_implicit", dt=3.0),
    "exponential": lambda: fitted(scheme="exponential", dt=3.0, hidden_size=9),
    "strang": lambda: fitted(scheme="strang", dt=3.0),
    "contained": lambda: fitted(contain=1.0),
    "outliers": lambda: fitted(np.where((T == 60)[:, None], 1e4, X), scale="robust"),
    "angles": lambda: fitted(TURNS, angles=("x0",)),
    "readout": lambda: readout(0, 20),
    "readout with delays and two layers": lambda: readout(3, 12, num_layers=2),
}


def double_twin(model):
    """The same numbers in float64: a network in float32 is another function of its weights, by rounding."""
    twin = copy.deepcopy(model)
    twin.network_ = twin.network_.double()
    return twin


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """All models in one library: a compiler takes longer to start than to translate one."""
    folder, models = tmp_path_factory.mktemp("c"), {}
    for k, (kind, make) in enumerate(MODELS.items()):
        models[kind] = (make(), f"m{k}")
        export.c(models[kind][0], folder, f"m{k}")
    return folder, models, build(folder, "-O0")


def build(folder, *flags):
    library = folder / f"all{len(flags)}{flags[0]}.so"
    sources = sorted(map(str, folder.glob("m*.c")))
    sources.remove(str(folder / "main.c"))
    line = [
        CC,
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        *flags,
        "-shared",
        "-fPIC",
        *sources,
        "-lm",
        "-o",
        library,
    ]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(library))


class InC:
    """The functions of a model, with arrays."""

    def __init__(self, library, name, model):
        self.call = {f: getattr(library, f"{name}_{f}") for f in ("begin", "step", "see", "warm_up", "forecast")}
        self.get_ = getattr(library, f"{name}_get")
        self.state, self.D = ctypes.create_string_buffer(1 << 16), len(model.names_)

    def __getattr__(self, f):
        def call(*args):
            long = [ctypes.c_long(a) if isinstance(a, int) else pointer(a) for a in args]
            return self.call[f](self.state, *long)

        return call

    def get(self):
        x = np.empty(self.D)
        self.get_(self.state, pointer(x))
        return x


def pointer(array):
    if array is None:
        return None
    assert array.flags.c_contiguous
    return array.ctypes.data_as(ctypes.c_void_p)


def columns(model, table):
    """Variables and inputs in the order of the model."""
    names = list(model.table_.columns)
    x, u = (np.ascontiguousarray(table[:, [names.index(n) for n in wanted]]) for wanted in (model.names_, model.input_names_))
    return x, u if u.size else None


def data_of(model):
    return XU if model.input_names_ else TURNS if model.table_.angles else X


@pytest.mark.parametrize("kind", MODELS)
def test_a_forecast_is_that_of_python(compiled, kind):
    _, models, library = compiled
    model, name = models[kind]
    table, steps = data_of(model), 30
    x, u = columns(model, table)
    ahead = None if u is None else u[-steps:].copy()
    found, run = np.empty((steps, x.shape[1])), InC(library, name, model)
    assert run.warm_up(x[:-steps].copy(), u, len(x) - steps) == 0
    assert run.forecast(ahead, steps, found) == 0
    wanted = double_twin(model).forecast(table[:-steps], steps, inputs=ahead)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12 * np.abs(x).max())
    moves = np.abs(np.diff(found, axis=0)).min(0)
    assert (moves.max() > 1e-4 * np.abs(x).max()) or kind == "contained", "a run that stands still says little"


@pytest.mark.parametrize("kind", MODELS)
def test_one_step_ahead_along_data_with_missing_values(compiled, kind):
    """`step` then `see`, sample by sample: the predictions of `Surrogate.predict`, whose own stand in for what is missing."""
    _, models, library = compiled
    model, name = models[kind]
    table = data_of(model).copy()
    D = len(model.names_)
    for k, j in ((0, 0), (17, 0), (17, 1), (18, 1), (40, 1)):
        table[k, list(model.table_.columns).index(model.names_[j])] = np.nan
    x, u = columns(model, table)
    data = lemode.Trajectories(np.arange(len(table)) * model.step_, table, model.table_.columns, missing=True)
    wanted = double_twin(model).predict(data)[0, :-1]
    run, found = InC(library, name, model), []
    assert run.begin(x[0].copy(), None if u is None else u[0].copy()) == 0
    for k in range(1, len(x)):
        assert run.step(None if u is None else u[k].copy()) == 0
        found.append(run.get())
        assert run.see(x[k].copy()) == 0
    np.testing.assert_allclose(np.stack(found)[:, :D], wanted, rtol=1e-12, atol=1e-12 * np.nanmax(np.abs(x)))


def test_what_is_no_number_is_refused_and_changes_nothing(compiled):
    _, models, library = compiled
    model, name = models["16 units, two layers, inputs, delays"]
    x, u = columns(model, XU)
    run, out = InC(library, name, model), np.empty((4, 2))
    assert run.warm_up(x[:20].copy(), u, 20) == 0
    before = bytes(run.state)
    for bad in (np.nan, np.inf):
        wrong = u[20:24].copy()
        wrong[2] = bad
        assert run.step(wrong[2].copy()) == 1
        assert run.forecast(wrong, 4, out) == 1
        assert run.warm_up(x, np.full_like(u, bad), 20) == 1
    assert run.see(np.array([1.0, -np.inf])) == 1
    assert run.warm_up(x, u, 0) == 1
    assert bytes(run.state) == before
    assert run.see(np.array([np.nan, 1.0])) == 0  # missing, and not refused


def test_a_copy_of_the_state_goes_on_independently(compiled):
    _, models, library = compiled
    model, name = models["readout with delays and two layers"]
    x, u = columns(model, XU)
    one, two, found, again = InC(library, name, model), InC(library, name, model), np.empty((9, 2)), np.empty((9, 2))
    one.warm_up(x, u, 50)
    two.state[:] = bytes(one.state)
    one.forecast(u[50:].copy(), 9, found)
    two.forecast(u[50:].copy(), 9, again)
    np.testing.assert_array_equal(found, again)


def run_main(folder, program, *arguments):
    return subprocess.run([f"./{program}", *map(str, arguments)], capture_output=True, text=True, cwd=folder)


def test_the_example_forecasts_a_csv_file(tmp_path):
    """Columns by name, whatever is in a name; quotes, semicolons, empty cells. Its errors are sentences."""
    names = ('v "1", a', "w??/é*/", "I")
    model = lemode.Surrogate(**{**FEW, "hidden_size": 5}, inputs=("I",)).fit(lemode.Trajectories(T, XU[:, [0, 1, 2]], names))
    files = export.c(model, tmp_path / "new" / "folder", "My model-2")
    assert [file.name for file in files] == ["my_model_2.h", "my_model_2.c", "main.c"]
    folder = files[0].parent
    line = [CC, "-O1", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "my_model_2.c", "main.c", "-lm", "-o", "run"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    history = XU[:80].copy()
    history[30, 0] = np.nan
    header = ["note", *('"' + n.replace('"', '""') + '"' for n in (names[2], names[0], names[1]))]
    rows = [
        f"'x {k}'; {r[2]!r};{'' if np.isnan(r[0]) else repr(float(r[0]))} ;\"{float(r[1])!r}\"" for k, r in enumerate(history)
    ]
    rows = [row.replace("np.float64(", "").replace(")", "") for row in rows]
    (folder / "history.csv").write_text("\ufeff" + ";".join(header) + "\r\n" + "\r\n".join(rows) + "\r\n\r\n", encoding="utf-8")
    (folder / "inputs.csv").write_text("I\n" + "\n".join(f"{v:.1f}" for v in U[80:90, 0]) + "\n")
    done = run_main(folder, "run", "history.csv", 10, "inputs.csv")
    assert done.returncode == 0, done.stderr
    found = np.array([line.split(",") for line in done.stdout.splitlines()[1:]], dtype=float)
    data = lemode.Trajectories(T[:80], history, names, missing=True)
    np.testing.assert_allclose(found, model.forecast(data, 10, U[80:90])[0], rtol=1e-12, atol=1e-11)
    (folder / "short.csv").write_text(f'"{names[0].replace(chr(34), chr(34) * 2)}",{names[1]},I\n1,2,3\n', encoding="utf-8")
    for arguments, status, sentence in (
        (("history.csv", 10), 2, "usage: ./run history.csv steps inputs.csv"),
        (("history.csv", "ten", "inputs.csv"), 1, "ten: give a positive number of steps."),
        (("nowhere.csv", 10, "inputs.csv"), 1, "nowhere.csv: No such file or directory."),
        (("inputs.csv", 10, "inputs.csv"), 1, 'inputs.csv: there is no column v "1", a.'),
        (("history.csv", 11, "inputs.csv"), 1, "inputs.csv: there are fewer inputs than steps."),
        (("short.csv", 10, "inputs.csv"), 1, "short.csv: the history is too short"),
        (("history.csv", 10, "history.csv"), 0, ""),
    ):
        done = run_main(folder, "run", *arguments)
        assert (done.returncode, sentence in done.stderr) == (status, True), done.stderr
        assert not sentence or len(done.stderr.splitlines()) == 1
    (folder / "inputs.csv").write_text("I\n1\n\n2\nmany\n")
    assert "inputs.csv: this is no number: many." in run_main(folder, "run", "history.csv", 3, "inputs.csv").stderr
    (folder / "inputs.csv").write_text("I,J\n1,1\n,2\n2,2\n")
    assert "inputs.csv: an input is missing or infinite." in run_main(folder, "run", "history.csv", 3, "inputs.csv").stderr


@pytest.mark.parametrize("name", ["", "1st", "main", "é", "static"])
def test_a_name_that_is_none_in_c_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"name=.*begins with a letter"):
        export.c(fitted(), tmp_path, name)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("flags", [("-O3", "-march=native"), ("-O3", "-march=native", "-ffast-math"), ("-O2",)])
def test_no_flag_changes_what_is_said(compiled, flags):
    folder, models, _ = compiled
    library = build(folder, *flags)
    for kind in models:
        test_a_forecast_is_that_of_python((folder, models, library), kind)
        test_one_step_ahead_along_data_with_missing_values((folder, models, library), kind)
    test_what_is_no_number_is_refused_and_changes_nothing((folder, models, library))


@pytest.mark.slow
def test_a_readout_that_was_solved_for(tmp_path):
    """Of noisy data, whose ridge keeps coefficients small; one step, as coefficients of clean ones cancel and free runs then amplify."""
    rng = np.random.default_rng(0)
    x = X + rng.normal(0, [0.02, 0.4], X.shape)
    model = lemode.Surrogate(hidden_size=40, train="readout", washout=5, verbose=0).fit(x)
    export.c(model, tmp_path, "m0")
    run, found = InC(build(tmp_path, "-O1"), "m0", model), np.empty((1, 2))
    assert run.warm_up(x, None, len(x)) == 0
    assert run.forecast(None, 1, found) == 0
    # the sum of sizes in the head, times the bits that a sum of so many numbers loses
    weight = model.network_.head.weight.detach().abs()
    sizes = (weight.sum(1) * model.network_.increment * model.network_.std).numpy()
    np.testing.assert_allclose(found[0], model.forecast(x, 1)[0], rtol=1e-12, atol=weight.shape[1] * 2**-53 * sizes.max())
