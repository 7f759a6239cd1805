"""What users do with torch.nn.LSTM, each once, as a function of the family of layers it is done with.

A pattern returns nothing where all is as with nn.LSTM, a reason where the family does it in another way, and raises what the family
raises. An AssertionError is a wrong result: no family may have one.
"""

from __future__ import annotations

import copy
import datetime
import functools
import io
import json
import multiprocessing
import pickle
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

from lemode import LEM, ConvLEM, LEMCell

M, D, L, N = 2, 3, 5, 4
State = tuple[Tensor, Tensor]


class NotForThis(Exception):
    """The family has no such thing, and nn.LSTM's counterpart has not either."""


@dataclass(frozen=True)
class Family:
    name: str
    build: Callable[..., nn.Module]
    cell: bool = False
    grid: tuple[int, ...] = ()

    def make(self, m: int = M, d: int = D, **options: Any) -> nn.Module:
        torch.manual_seed(0)
        return self.build(m, d, **options)

    def input(self, steps: int = L, samples: int = N, m: int = M, **options: Any) -> Tensor:
        return torch.randn(steps, samples, m, *self.grid, **options)

    def run(self, net: nn.Module, u: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Output and state; a cell is run step by step."""
        if not self.cell:
            return net(u, state)
        outs = []
        for x in u:
            state = net(x, state)
            outs.append(state[0])
        assert state is not None
        return torch.stack(outs), state

    def out(self, net: nn.Module, u: Tensor) -> Tensor:
        return self.run(net, u)[0]

    def owner(self, net: nn.Module) -> tuple[nn.Module, str]:
        """The module that has the recurrent weights, and their name."""
        if isinstance(net, nn.LSTM):
            return net, "weight_hh_l0"
        if isinstance(net, nn.LSTMCell):
            return net, "weight_hh"
        return (net.cells[0].ode if isinstance(net, LEM) else net.ode), "weight_hh"

    def layer(self) -> None:
        if self.cell:
            raise NotForThis


def _conv(m: int, d: int, **options: Any) -> ConvLEM:
    return ConvLEM(m, d, 3, recurrent_kernel_size=3, **options)


FAMILIES = {
    f.name: f
    for f in (
        Family("nn.LSTM", nn.LSTM),
        Family("LEM", LEM),
        Family("nn.LSTMCell", nn.LSTMCell, cell=True),
        Family("LEMCell", LEMCell, cell=True),
        Family("ConvLEM", _conv, grid=(6,)),
    )
}


class Out(nn.Module):
    """The family's layer as a module from input to output, for what wants one."""

    def __init__(self, family: str, net: nn.Module) -> None:
        super().__init__()
        self.family, self.net = family, net

    def forward(self, u: Tensor) -> Tensor:
        return FAMILIES[self.family].out(self.net, u)


def same(a: Any, b: Any, **options: Any) -> None:
    torch.testing.assert_close(a, b, **(options or {"rtol": 1e-5, "atol": 1e-6}))


@dataclass
class Pattern:
    what: str
    run: Callable[[Family], str | None]
    slow: bool = False
    processes: bool = False  # forks: only from an interpreter that has done nothing else is that sure to work, with any library
    # the outcomes that are not "works"; None where the version of torch or the machine decides
    expected: dict[str, str | None] = field(default_factory=dict)


PATTERNS: dict[str, Pattern] = {}


def pattern(what: str, slow: bool = False, processes: bool = False, **expected: str | None) -> Callable[[Any], Any]:
    names = {"LSTM": "nn.LSTM", "LSTMCell": "nn.LSTMCell"}

    def add(f: Any) -> Any:
        PATTERNS[f.__name__] = Pattern(what, f, slow, processes, {names.get(k, k): v for k, v in expected.items()})
        return f

    return add


def outcome(name: str, family: Family) -> tuple[str, str]:
    """('works' | 'differs' | 'refuses' | 'wrong' | '-', why)."""
    if PATTERNS[name].processes:
        kind, why = _from_a_fresh_interpreter()[name, family.name]
        return kind, why
    return _outcome(PATTERNS[name], family)


@functools.cache
def _from_a_fresh_interpreter() -> dict[tuple[str, str], tuple[str, str]]:
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise AssertionError(done.stderr[-3000:])
    return {(name, family): (kind, why) for name, family, kind, why in json.loads(done.stdout.splitlines()[-1])}


def _outcome(p: Pattern, family: Family) -> tuple[str, str]:
    torch.manual_seed(0)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(deprecated|fork|weight_norm|non-leaf|returned a view).*")
            if "LEM" not in family.name:
                warnings.simplefilter("ignore")
            warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
            why = p.run(family)
    except NotForThis:
        return "-", ""
    except AssertionError as e:
        return "wrong", str(e) or repr(e)
    except Exception as e:
        return "refuses", f"{type(e).__name__}: {e}"
    return ("differs", why) if why else ("works", "")


# shapes ------------------------------------------------------------------------------------------------------------------


@pattern("output and state of a batch")
def batch(f):
    net = f.make()
    out, (h, c) = f.run(net, f.input())
    assert out.shape == (L, N, D, *f.grid)
    assert h.shape == c.shape
    same(out[-1], h if f.cell or f.grid else h[0])


@pattern("unbatched input", ConvLEM="refuses")
def unbatched(f):
    net, u = f.make(), f.input()
    same(f.out(net, u[:, 0]), f.out(net, u)[:, 0])


@pattern("batch_first")
def batch_first(f):
    f.layer()
    u = f.input()
    same(f.out(f.make(batch_first=True), u.transpose(0, 1)).transpose(0, 1), f.out(f.make(), u))


@pattern("num_layers with dropout: in training only")
def layers(f):
    f.layer()
    net, u = f.make(num_layers=2, dropout=0.5), f.input()
    out, (h, _) = f.run(net, u)
    assert h.shape[0] == 2
    assert not torch.equal(out, f.out(net, u))
    assert torch.equal(f.out(net.eval(), u), f.out(net, u))


@pattern("bidirectional: the other half reads backwards")
def bidirectional(f):
    f.layer()
    net, u = f.make(bidirectional=True), f.input()
    out, (h, _) = f.run(net, u)
    assert out.shape == (L, N, 2 * D, *f.grid)
    same(h[1], out[0, :, D:])
    changed = u.clone()
    changed[-1] += 1
    assert not torch.allclose(f.out(net, changed)[0, :, D:], out[0, :, D:])
    same(f.out(net, changed)[0, :, :D], out[0, :, :D])


@pattern("bias=False")
def no_bias(f):
    if f.grid:
        raise NotForThis
    net = f.make(bias=False)
    assert net.bias is False
    assert not any("bias" in name for name, _ in net.named_parameters())
    f.out(net, f.input())


@pattern("a batch of no samples")
def empty_batch(f):
    out, (h, _) = f.run(f.make(), f.input(samples=0))
    assert out.shape == (L, 0, D, *f.grid)
    assert h.numel() == 0


@pattern("a sequence of no steps is refused", LSTM="refuses", LEM="refuses", ConvLEM="refuses")
def no_steps(f):
    f.layer()
    f.out(f.make(), f.input(steps=0))


@pattern("strides: transposed, expanded, every other step")
def strides(f):
    net = f.make()
    u = f.input(samples=L, steps=N).transpose(0, 1)
    same(f.out(net, u), f.out(net, u.contiguous()))
    e = f.input(steps=1).expand(L, *(-1,) * (2 + len(f.grid)))
    same(f.out(net, e), f.out(net, e.contiguous()))
    s = f.input(steps=2 * L)[::2]
    same(f.out(net, s), f.out(net, s.contiguous()))


@pattern("an imaginary part, which is a view with a pending sign")
def negative_bit(f):
    net, c = f.make(), torch.randn(*f.input().shape, dtype=torch.cfloat).conj()
    same(f.out(net, c.imag), f.out(net, c.imag.clone()))


@pattern("a wrong number of features is refused", **dict.fromkeys(["LSTM", "LEM", "LSTMCell", "LEMCell", "ConvLEM"], "refuses"))
def wrong_features(f):
    f.out(f.make(), f.input(m=M + 1))


@pattern("a state of a wrong shape is refused", **dict.fromkeys(["LSTM", "LEM", "LSTMCell", "LEMCell", "ConvLEM"], "refuses"))
def wrong_state(f):
    net, u = f.make(), f.input()
    _, (h, c) = f.run(net, u)
    f.run(net, u, (h[..., :1], c[..., :1]))


# states ------------------------------------------------------------------------------------------------------------------


@pattern("a sequence in two pieces")
def two_pieces(f):
    net, u = f.make(), f.input()
    whole, end = f.run(net, u)
    first, state = f.run(net, u[:2])
    second, last = f.run(net, u[2:], state)
    same(torch.cat([first, second]), whole)
    same(tuple(last), tuple(end))


@pattern("the state by the keyword hx")
def keyword_hx(f):
    net, u = f.make(), f.input()
    _, state = f.run(net, u)
    a = net(u[0], hx=state)[0] if f.cell else net(u, hx=state)[0]
    same(a, f.run(net, u[:1] if f.cell else u, state)[0][0 if f.cell else slice(None)])


@pattern("truncated back-propagation: detached states")
def tbptt(f):
    net, u = f.make(), f.input(steps=8)
    optimizer, state, losses = torch.optim.Adam(net.parameters(), 0.05), None, []
    for _ in range(3):
        for piece in u.split(4):
            out, state = f.run(net, piece, state)
            state = tuple(s.detach() for s in state)
            optimizer.zero_grad()
            loss = (out - 0.3).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < losses[0]


@pattern("in-place use of the output without a gradient, small and large")
def in_place(f):
    for samples in (2, 300):
        net, u = f.make(), f.input(steps=20, samples=samples)
        with torch.no_grad():
            out, (h, _) = f.run(net, u)
            before, expected = h.clone(), out * 2
            out *= 2
        same(out, expected)
        same(h, before)  # the state is not a view of the output
        same(f.out(net, u).detach() * 2, expected)


@pattern("in-place use of the output that the derivative needs: torch says so, at every size", LSTM="refuses", LEM="refuses", LEMCell=None, LSTMCell=None, ConvLEM=None)  # fmt: skip
def in_place_under_grad(f):
    said = []
    for samples in (2, 300):
        out = f.out(f.make(), f.input(steps=20, samples=samples))
        out *= 2
        try:
            out.sum().backward()
        except RuntimeError as e:
            said.append(e)
    assert len(said) in (0, 2), f"depends on the size: {said}"
    if said:
        raise said[0]


# packed sequences -----------------------------------------------------------------------------------------------------------


def _packed(f, enforce_sorted, **options):
    f.layer()
    if f.grid:
        raise NotForThis
    net = f.make(**options)
    lengths = [5, 3, 1] if enforce_sorted else [3, 5, 1]
    sequences = [torch.randn(n, M) for n in lengths]
    given = pack_sequence(sequences, enforce_sorted=enforce_sorted)
    packed, (h, _) = net(given)
    for mine, theirs in zip(packed[2:], given[2:]):
        assert (mine is None) == (theirs is None)
        assert mine is None or torch.equal(mine, theirs)
    out, _ = pad_packed_sequence(packed)
    for k, u in enumerate(sequences):
        alone, (h_k, _) = net(u)
        same(out[: len(u), k], alone)
        same(h[:, k], h_k)


@pattern("a PackedSequence, sorted")
def packed(f):
    _packed(f, True)


@pattern("a PackedSequence, not sorted; its order is kept")
def packed_unsorted(f):
    _packed(f, False)


@pattern("a PackedSequence, layers of both directions")
def packed_bidirectional(f):
    _packed(f, False, num_layers=2, bidirectional=True)


@pattern("a PackedSequence in a given order (sorted_indices)")
def packed_order(f):
    f.layer()
    if f.grid:
        raise NotForThis
    net, order = f.make(), torch.tensor([1, 2, 0])
    data, sizes, _, _ = pack_sequence([torch.randn(n, M) for n in (4, 4, 2)])
    given = PackedSequence(data, sizes, order, torch.argsort(order))
    _, (h, _) = net(given)
    _, (plain, _) = net(PackedSequence(data, sizes))
    same(h, plain[:, torch.argsort(order)])


@pattern("derivatives through a PackedSequence")
def packed_derivatives(f):
    f.layer()
    if f.grid:
        raise NotForThis
    net = f.make(bidirectional=True)
    sequences = [torch.randn(n, M) for n in (2, 4, 4)]
    net(pack_sequence(sequences, enforce_sorted=False))[0].data.sum().backward()
    packed = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    sum(net(u)[0].sum() for u in sequences).backward()
    same(packed, [p.grad for p in net.parameters()])


@pattern("a NestedTensor is refused by name", LSTM=None, LSTMCell=None, LEM="refuses", LEMCell="refuses", ConvLEM="refuses")
def nested(f):
    u = torch.nested.nested_tensor([torch.randn(3, M), torch.randn(5, M)], layout=torch.jagged)
    f.make()(u)


# dtypes and devices -----------------------------------------------------------------------------------------------------------


@pattern("float64")
def double(f):
    net, u = f.make(dtype=torch.float64), f.input(dtype=torch.float64)
    out, (h, c) = f.run(net, u)
    assert out.dtype == h.dtype == c.dtype == torch.float64
    # float32 agrees to its rounding, through a few steps
    same(f.out(copy.deepcopy(net).float(), u.float()).double(), out, rtol=1e-5, atol=1e-6)


@pattern("mixed dtypes are refused", **dict.fromkeys(["LSTM", "LEM", "LSTMCell", "LEMCell", "ConvLEM"], "refuses"))
def mixed_dtypes(f):
    f.out(f.make(), f.input(dtype=torch.float64))


def _sixteen(f, dtype):
    net, u = f.make(dtype=dtype), f.input(dtype=dtype)
    out, (h, c) = f.run(net, u)
    out.float().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == dtype for p in net.parameters())
    # 16 bits: a few roundings of 2^-8
    same(out.detach().float(), f.out(copy.deepcopy(net).float(), u.float()).detach(), rtol=0, atol=0.03)
    if "LEM" in f.name:
        assert h.dtype == c.dtype == torch.float32
        return "the state is float32: small steps would be lost in 16 bits"
    assert h.dtype == dtype


@pattern("bfloat16 parameters", LSTM=None, LSTMCell=None, LEM="differs", LEMCell="differs", ConvLEM="differs")
def bfloat16(f):
    return _sixteen(f, torch.bfloat16)


@pattern("float16 parameters", LSTM=None, LSTMCell=None, LEM="differs", LEMCell="differs", ConvLEM="differs")
def float16(f):
    return _sixteen(f, torch.float16)


def _autocast(f, u):
    net = f.make()
    with torch.autocast("cpu", torch.bfloat16):
        out, (h, _) = f.run(net, u)
    out.float().sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    if "LEM" in f.name:
        same(out.detach(), f.out(net, u.float()).detach())
        assert h.dtype == torch.float32
        return "runs in float32, as autocast's other sums do"


@pattern("autocast, an input that a Linear has made bfloat16", LSTM=None, LSTMCell=None, LEM="differs", LEMCell="differs", ConvLEM="differs")  # fmt: skip
def autocast_after_linear(f):
    return _autocast(f, f.input().bfloat16())


@pattern("autocast, float32 input", LSTM=None, LSTMCell=None, LEM="differs", LEMCell="differs", ConvLEM="differs")
def autocast(f):
    return _autocast(f, f.input())


@pattern("the meta device: shapes without numbers")
def meta(f):
    out = f.out(f.make(device="meta"), f.input(device="meta"))
    assert out.is_meta
    assert out.shape == (L, N, D, *f.grid)


@pattern("made before torch.set_default_device('meta'), run after it")
def default_device(f):
    net, u = f.make(), f.input()
    expected = f.out(net, u)
    with torch.device("meta"):
        found = f.out(net, u)
    same(found, expected)


@pattern("made on meta, to_empty, reset_parameters")
def deferred(f):
    net = f.make(device="meta").to_empty(device="cpu")
    for p in net.parameters():
        p.data.fill_(float("nan"))
    net.reset_parameters()
    assert torch.isfinite(f.out(net, f.input())).all()


@pattern("FakeTensorMode")
def fake(f):
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        out = f.out(f.make(), f.input())
        assert out.shape == (L, N, D, *f.grid)
        out.sum().backward()


# modules ----------------------------------------------------------------------------------------------------------------------


@pattern("copy.deepcopy")
def deepcopy(f):
    net, u = f.make(), f.input()
    other = copy.deepcopy(net)
    same(f.out(other, u), f.out(net, u))
    with torch.no_grad():
        next(other.parameters()).zero_()
    assert next(net.parameters()).any()


@pattern("pickle, and torch.save of the module")
def pickled(f):
    net, u = f.make(), f.input()
    same(f.out(pickle.loads(pickle.dumps(net)), u), f.out(net, u))
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    same(f.out(torch.load(file, weights_only=False), u), f.out(net, u))


@pattern("state_dict by torch.save and load(weights_only=True)")
def state_dict(f):
    net, u, file = f.make(), f.input(), io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other = f.make()
    other.reset_parameters()
    other.load_state_dict(torch.load(file, weights_only=True))
    same(f.out(other, u), f.out(net, u))


@pattern("state_dict by safetensors: tensors only")
def safetensors(f):
    from safetensors.torch import load, save

    net, u = f.make(), f.input()
    other = f.make()
    other.reset_parameters()
    other.load_state_dict(load(save(net.state_dict())))
    same(f.out(other, u), f.out(net, u))


@pattern("a missing key is named", **dict.fromkeys(["LSTM", "LEM", "LSTMCell", "LEMCell", "ConvLEM"], "refuses"))
def missing_key(f):
    net = f.make()
    weights = net.state_dict()
    weights.popitem()
    net.load_state_dict(weights)


@pattern("load_state_dict(assign=True) onto meta")
def assign(f):
    net, u = f.make(), f.input()
    other = f.make(device="meta")
    other.load_state_dict(net.state_dict(), assign=True)
    same(f.out(other, u), f.out(net, u))


@pattern("flatten_parameters and reset_parameters")
def resets(f):
    net, u = f.make(), f.input()
    before = f.out(net, u)
    if not f.cell:
        net.flatten_parameters()
    same(f.out(net, u), before)
    net.reset_parameters()
    assert not torch.allclose(f.out(net, u), before)


@pattern("nn.utils.skip_init", LSTM=None)
def skip_init(f):
    options = {"recurrent_kernel_size": 3, "kernel_size": 3} if f.grid else {}
    net = nn.utils.skip_init(ConvLEM if f.grid else f.build, M, D, **options)
    net.reset_parameters()
    f.out(net, f.input())


@pattern("torch.func.functional_call with other weights")
def functional_call(f):
    net, u = Out(f.name, f.make()), f.input()
    other = {name: p.detach() / 2 for name, p in net.named_parameters()}
    expected = copy.deepcopy(net)
    expected.load_state_dict(other)
    same(torch.func.functional_call(net, other, u), expected(u))


@pattern("parameters_to_vector and back")
def vector(f):
    net, u = f.make(), f.input()
    v = nn.utils.parameters_to_vector(net.parameters())
    before = f.out(net, u)
    nn.utils.vector_to_parameters(v / 2, net.parameters())
    assert not torch.allclose(f.out(net, u), before)
    nn.utils.vector_to_parameters(v, net.parameters())
    same(f.out(net, u), before)


@pattern("weights averaged by swa_utils.AveragedModel")
def averaged(f):
    net, u = f.make(), f.input()
    mean = torch.optim.swa_utils.AveragedModel(Out(f.name, net))
    mean.update_parameters(Out(f.name, net))
    same(mean(u), f.out(net, u))


def _two_steps(f, net):
    """Two training steps, after which every parameter has moved and the weights in use are made of the parameters."""
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    for _ in range(2):
        optimizer.zero_grad()
        (f.out(net, f.input()) - 0.3).square().sum().backward()
        optimizer.step()
    for old, p in zip(before, net.parameters()):
        assert not torch.equal(old, p)


@pattern("nn.utils.parametrizations.orthogonal")
def orthogonal(f):
    net = f.make(d=4)
    owner, name = f.owner(net)
    if f.grid:
        raise NotForThis
    nn.utils.parametrizations.orthogonal(owner, name)
    _two_steps(f, net)
    w = getattr(owner, name)
    same(w.mT @ w, torch.eye(4), rtol=0, atol=1e-5)


@pattern("parametrizations.weight_norm, train and eval")
def weight_norm(f):
    net, u = f.make(), f.input()
    owner, name = f.owner(net)
    before = f.out(net, u)
    nn.utils.parametrizations.weight_norm(owner, name)
    same(f.out(net, u), before)
    _two_steps(f, net)


@pattern("nn.utils.weight_norm (hooks)")
def weight_norm_hook(f):
    net, u = f.make(), f.input()
    owner, name = f.owner(net)
    before = f.out(net, u)
    nn.utils.weight_norm(owner, name)
    same(f.out(net, u), before)
    _two_steps(f, net)


@pattern("nn.utils.spectral_norm (hooks): the weights in use have norm 1")
def spectral_norm_hook(f):
    net, u = f.make(), f.input()
    owner, name = f.owner(net)
    with torch.no_grad():
        getattr(owner, name).mul_(5)
    before = f.out(net, u)
    nn.utils.spectral_norm(owner, name, n_power_iterations=50)
    f.out(net, u)
    # the power iteration has converged to a few digits
    same(torch.linalg.matrix_norm(getattr(owner, name).flatten(1), 2), torch.tensor(1.0), rtol=0, atol=1e-2)
    assert not torch.allclose(f.out(net, u), before, atol=1e-3)
    _two_steps(f, net)


@pattern("parametrizations.spectral_norm")
def spectral_norm(f):
    net, u = f.make(), f.input()
    owner, name = f.owner(net)
    with torch.no_grad():
        getattr(owner, name).mul_(5)
    before = f.out(net, u)
    nn.utils.parametrizations.spectral_norm(owner, name)
    assert not torch.allclose(f.out(net, u), before, atol=1e-3)
    _two_steps(f, net)


@pattern("nn.utils.prune: the mask holds while training")
def pruned(f):
    from torch.nn.utils import prune

    net, u = f.make(), f.input()
    owner, name = f.owner(net)
    prune.random_unstructured(owner, name, amount=0.5)
    zeros = getattr(owner, name) == 0
    assert zeros.any()
    _two_steps(f, net)
    out = f.out(net, u)
    assert (getattr(owner, name)[zeros] == 0).all()
    prune.remove(owner, name)
    same(f.out(net, u), out)


@pattern("forward hooks of the layer, and of the module with the weights, once a call")
def hooks(f):
    net, seen = f.make(), []
    owner, _ = f.owner(net)
    for module in {id(m): m for m in (net, owner)}.values():
        module.register_forward_pre_hook(lambda m, args: seen.append("pre"))
        module.register_forward_hook(lambda m, args, out: seen.append("post"))
    f.out(net, f.input())
    calls = (1 if owner is net else 2) * (L if f.cell else 1)
    assert (seen.count("pre"), seen.count("post")) == (calls, calls)


@pattern("a forward hook replaces the output")
def replacing_hook(f):
    net, u = f.make(), f.input()
    net.register_forward_hook(lambda m, args, out: (out[0] * 0, out[1]))
    assert not f.out(net, u).any()


@pattern("a full backward hook sees the gradient")
def backward_hook(f):
    net, seen = f.make(), []
    net.register_full_backward_hook(lambda m, grad_in, grad_out: seen.append(grad_in[0]))
    u = f.input().requires_grad_()
    f.out(net, u).sum().backward()
    assert len(seen) == (L if f.cell else 1)
    if not f.cell:
        same(seen[0], u.grad)


# derivatives --------------------------------------------------------------------------------------------------------------------


@pattern("frozen weights get no gradient, the others do")
def frozen(f):
    net = f.make()
    owner, name = f.owner(net)
    getattr(owner, name).requires_grad_(False)
    f.out(net, f.input()).sum().backward()
    for p in net.parameters():
        assert (p.grad is None) == (not p.requires_grad)


@pattern("clip_grad_norm_ and fused AdamW")
def clipped(f):
    net, u = f.make(), f.input()
    optimizer = torch.optim.AdamW(net.parameters(), 0.05, fused=True)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = (f.out(net, u) - 0.3).square().sum()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pattern("gradcheck")
def gradcheck(f):
    net, u = f.make(dtype=torch.float64), f.input(steps=3, samples=2, dtype=torch.float64).requires_grad_()
    torch.autograd.gradcheck(lambda u, *p: f.out(net, u), (u, *net.parameters()))


@pattern("second derivatives: a gradient penalty")
def penalty(f):
    net, u = f.make(dtype=torch.float64), f.input(steps=3, samples=2, dtype=torch.float64).requires_grad_()

    def slope(u):
        (g,) = torch.autograd.grad(f.out(net, u).square().sum(), u, create_graph=True)
        return g

    slope(u).square().sum().backward()
    assert any(p.grad.any() for p in net.parameters())
    found, h = u.grad, 1e-6
    v = torch.randn_like(u)
    change = [slope((u + s * h * v).detach().requires_grad_()).square().sum().detach() for s in (1, -1)]
    # a central difference in float64: 1e-6 squared of truncation, 1e-10 of rounding
    same((found * v).sum(), (change[0] - change[1]) / (2 * h), rtol=1e-5, atol=1e-8)


@pattern("torch.func.jvp", LSTM=None, LSTMCell=None)
def jvp(f):
    net, u = f.make(dtype=torch.float64), f.input(dtype=torch.float64)
    v, h = torch.randn_like(u), 1e-6
    _, product = torch.func.jvp(lambda u: f.out(net, u), (u,), (v,))
    same(product, (f.out(net, u + h * v) - f.out(net, u - h * v)) / (2 * h), rtol=1e-6, atol=1e-8)


@pattern("torch.func.vmap over networks' inputs", LSTM=None, LSTMCell=None)
def vmap(f):
    net, u = f.make(), torch.stack([f.input(), f.input()])
    same(torch.func.vmap(lambda u: f.out(net, u), randomness="same")(u), torch.stack([f.out(net, x) for x in u]))


@pattern("gradients per sample: vmap of grad", LSTM=None, LSTMCell=None)
def per_sample(f):
    net, u = Out(f.name, f.make()), f.input()
    weights = {name: p.detach() for name, p in net.named_parameters()}

    def loss(weights, x):
        return torch.func.functional_call(net, weights, x.unsqueeze(1)).square().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 1))(weights, u)
    for k in range(N):
        alone = torch.func.grad(loss)(weights, u[:, k])
        same({name: g[k] for name, g in found.items()}, alone)


@pattern("gradient checkpointing")
def checkpointing(f):
    from torch.utils.checkpoint import checkpoint

    net, u = f.make(), f.input()
    f.out(net, u).sum().backward()
    expected = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    checkpoint(lambda u: f.out(net, u), u, use_reentrant=False).sum().backward()
    same([p.grad for p in net.parameters()], expected)


@pattern("backward twice with retain_graph")
def retained(f):
    net, u = f.make(), f.input()
    loss = f.out(net, u).sum()
    loss.backward(retain_graph=True)
    once = [p.grad.clone() for p in net.parameters()]
    loss.backward()
    same([p.grad / 2 for p in net.parameters()], once)


@pattern("inference_mode and no_grad make no graph")
def inference(f):
    net, u = f.make(), f.input()
    expected = f.out(net, u)
    assert expected.requires_grad
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            out = f.out(net, u)
            assert not out.requires_grad
        same(out, expected.detach())


# graphs -------------------------------------------------------------------------------------------------------------------------


def _compiled(f, backend):
    torch._dynamo.reset()
    net, u = Out(f.name, f.make()), f.input()
    expected, run = net(u), torch.compile(net, fullgraph=True, backend=backend)
    out = run(u)
    same(out, expected)
    out.sum().backward()
    grads = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    expected.sum().backward()
    same(grads, [p.grad for p in net.parameters()])


@pattern("torch.compile(fullgraph=True), the graph", LSTM=None, slow=True)
def compiled_graph(f):
    _compiled(f, "aot_eager")


@pattern("torch.compile(fullgraph=True), by inductor", LSTM=None, slow=True)
def compiled(f):
    _compiled(f, "inductor")


@pattern("torch.export, the number of steps left open", LSTM=None, LSTMCell=None, LEMCell=None)
def exported(f):
    f.layer()
    net = Out(f.name, f.make()).eval()
    steps = torch.export.Dim("steps", min=2, max=1000)
    program = torch.export.export(net, (f.input(),), dynamic_shapes=({0: steps},))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for n in (L, 11):
        u = f.input(steps=n)
        same(loaded(u), net(u))


@pattern("torch.jit.trace, run on another input", LSTM=None)
def traced(f):
    net = Out(f.name, f.make())
    with torch.no_grad():
        trace = torch.jit.trace(net, f.input(), check_trace=False)
    other = f.input()
    same(trace(other), net(other))


@pattern("torch.jit.script", LSTM=None, LEM="refuses", LEMCell="refuses", ConvLEM="refuses")
def scripted(f):
    net = torch.jit.script(f.make())
    f.out(net, f.input())


@pattern("make_fx", LSTM=None)
def symbolic(f):
    from torch.fx.experimental.proxy_tensor import make_fx

    net, u = f.make(), f.input()
    graph = make_fx(lambda u: f.out(net, u).detach())(u)
    other = f.input()
    same(graph(other), f.out(net, other).detach())


# processes ----------------------------------------------------------------------------------------------------------------------


@pattern("four threads, one network")
def threads(f):
    net, u = f.make(), f.input(steps=50)
    expected, found = f.out(net, u).detach(), [None] * 4

    def work(k):
        for _ in range(5):
            found[k] = f.out(net, u).detach()

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    for out in found:
        assert torch.equal(out, expected)


def _in_child(name: str, net: nn.Module, u: Tensor, answers: Any) -> None:
    torch.set_num_threads(1)
    out = FAMILIES[name].out(net, u)
    out.sum().backward()
    answers.put(out.detach().numpy())


def _processes(f: Family, method: str) -> None:
    net, u = f.make(), f.input()
    expected = f.out(net, u).detach()
    context = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(f.name, net, u, answers))
    child.start()
    child.join(60)
    assert child.exitcode == 0, f"the child ended with {child.exitcode}"
    same(torch.from_numpy(answers.get()), expected)


@pattern("a forked process, after use in the parent", processes=True)
def forked(f):
    _processes(f, "fork")


@pattern("a spawned process", slow=True)
def spawned(f):
    _processes(f, "spawn")


class Runs(torch.utils.data.Dataset):
    """A data set that runs a network to make its entries."""

    def __init__(self, name: str, net: nn.Module, u: Tensor) -> None:
        self.name, self.net, self.u = name, net, u

    def __len__(self) -> int:
        return self.u.shape[1]

    def __getitem__(self, k: int) -> Tensor:
        with torch.no_grad():
            return FAMILIES[self.name].out(self.net, self.u[:, k : k + 1])[:, 0]


@pattern("in the workers of a DataLoader", processes=True)
def data_loader(f):
    net, u = f.make(), f.input()
    loader = torch.utils.data.DataLoader(Runs(f.name, net, u), batch_size=N, num_workers=2, multiprocessing_context="fork")
    (found,) = loader
    same(found.transpose(0, 1), f.out(net, u).detach())


@pattern("weights in shared memory")
def shared(f):
    net, u = f.make(), f.input()
    before = f.out(net, u)
    same(f.out(net.share_memory(), u), before)
    assert all(p.is_shared() for p in net.parameters())


def _distributed(rank: int, kind: str, folder: str) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    patience = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=patience)
    try:
        for name, f in FAMILIES.items():
            try:
                _shared_gradients(f, kind, rank)
                said = ""
            except Exception as e:
                said = f"{type(e).__name__}: {e}"
            Path(folder, f"{name}.{rank}").write_text(said)
    finally:
        dist.destroy_process_group()


def _shared_gradients(f: Family, kind: str, rank: int) -> None:
    net = f.make()
    u = f.input(samples=2 * N)
    mine = u[:, rank * N : (rank + 1) * N]
    f.out(net, u).square().mean().backward()
    expected = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    if kind == "ddp":
        run = nn.parallel.DistributedDataParallel(Out(f.name, net))
    else:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (2,))
        for part in net.cells if isinstance(net, LEM) else ():
            fully_shard(part, mesh=mesh)
        run = Out(f.name, net)
        fully_shard(run, mesh=mesh)
    run(mine).square().mean().backward()
    for name, p in net.named_parameters():
        grad = p.grad if kind == "ddp" else p.grad.full_tensor()
        same(grad, expected[name])


@functools.cache
def _two_processes(kind: str) -> dict[str, list[str]]:
    """What either of two processes says of each family; they meet once for all, which takes seconds."""
    with tempfile.TemporaryDirectory() as folder:
        # fork: a spawned process would spend ten times as long on its imports
        torch.multiprocessing.start_processes(_distributed, (kind, folder), nprocs=2, start_method="fork")
        return {name: [Path(folder, f"{name}.{rank}").read_text() for rank in (0, 1)] for name in FAMILIES}


def _told_by_two(f: Family, kind: str) -> None:
    for said in _two_processes(kind)[f.name]:
        if said:
            raise RuntimeError(said)


@pattern("DistributedDataParallel, gloo, two processes", processes=True)
def ddp(f):
    _told_by_two(f, "ddp")


@pattern("fully_shard of each cell, gloo, two processes", processes=True, LSTM=None, LSTMCell=None)
def fsdp(f):
    _told_by_two(f, "fsdp")


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = [(n, f.name, *_outcome(p, f)) for n, p in PATTERNS.items() if p.processes for f in FAMILIES.values()]
    print(json.dumps(rows))
