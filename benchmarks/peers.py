"""Every counter that is measured, as one function each, and the process that runs it.

Each function takes a model and the tuple of its inputs and returns multiply-accumulates
(MACs). A counter that reports operations, two to a MAC, is halved here and nowhere else.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import importlib
import inspect
import io
import logging
import multiprocessing
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from benchmarks import models

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Count = Callable[[Any, tuple[Any, ...]], float]
Link: TypeAlias = "Connection[Any, Any]"
Hook = Callable[[Any, tuple[Any, ...]], object]

# How a counter can be run: on which tensors, and whether autograd is on. Real tensors
# without autograd send ViT through a fused attention kernel that most counters miss,
# so that combination is kept apart from the one that their manuals show.
META, REAL, REAL_GRAD = "meta", "real", "real+grad"
ANY_MODE = (META, REAL, REAL_GRAD)

# A turn of a quick counter is a few runs in a row: the first one after a wait finds
# cold caches, which would weigh most on the shortest measurements.
TURN_SECONDS = 0.25
TURN_RUNS = 5
PROBE_RUNS = 3  # to tell which mode of a counter is the fastest
PATIENCE_SECONDS = 300.0  # for one answer of a process; after that it is ended
FAILURE_WIDTH = 110


class CounterError(Exception):
    """A counter gave no number and reported why in its own way."""


@dataclass(frozen=True)
class Peer:
    """One counter: its function, what it imports, and the modes worth trying."""

    name: str
    count: Count
    loads: str
    modes: tuple[str, ...] = ANY_MODE
    fresh_model: bool = True
    first_that_works: bool = False
    before_all: Hook | None = None
    before_each: Hook | None = None


PEERS: dict[str, Peer] = {}


def _peer(name: str, loads: str, **options: Any) -> Callable[[Count], Count]:
    """Enter the decorated function in the registry under `name`."""

    def enter(count: Count) -> Count:
        PEERS[name] = Peer(name, count, loads, **options)
        return count

    return enter


def _lib(name: str) -> Any:
    """Return an imported module untyped, since few of these packages carry types."""
    return importlib.import_module(name)


def _first_tensor(inputs: Any) -> Any:
    """The first tensor among inputs, which may be lists of images."""
    return inputs if hasattr(inputs, "device") else _first_tensor(next(iter(inputs)))


def _clear_memo(_model: Any, _inputs: tuple[Any, ...]) -> None:
    _lib("flopscope").clear_memo()


def _flopscope(model: Any, inputs: tuple[Any, ...]) -> float:
    return int(_lib("flopscope").analyze(model, *inputs).total.macs)


def _enter_flopscope() -> None:
    """Enter flopscope twice: with the memo emptied before each run, and filled before all."""
    # It gets the model as users hold it: with real weights, wherever there are any.
    common: dict[str, Any] = {"modes": (REAL_GRAD, META), "first_that_works": True, "fresh_model": False}
    _peer("flopscope cold", "flopscope", before_each=_clear_memo, **common)(_flopscope)
    _peer("flopscope warm", "flopscope", before_all=_flopscope, **common)(_flopscope)


_enter_flopscope()


@_peer("bare meta forward", "torch", modes=(META,), fresh_model=False)
def bare_forward(model: Any, inputs: tuple[Any, ...]) -> float:
    """Run the model and count nothing: what any tool that runs the forward must pay."""
    model(*inputs)
    return 0.0


@_peer("FlopCounterMode", "torch.utils.flop_counter", modes=(META,), fresh_model=False)
def flop_counter_mode(model: Any, inputs: tuple[Any, ...]) -> float:
    """PyTorch's own counter; it reports two operations per MAC."""
    counter = _lib("torch.utils.flop_counter").FlopCounterMode(display=False)
    with counter:
        model(*inputs)
    return float(counter.get_total_flops()) / 2


# The baseline is fixed to meta tensors, so that ratios mean the same on every model. On a
# small model the real forward can be faster than the meta one, hence this second entry.
_peer("FlopCounterMode real", "torch.utils.flop_counter", modes=(REAL, REAL_GRAD), fresh_model=False)(flop_counter_mode)


@_peer("fvcore", "fvcore.nn")
def fvcore(model: Any, inputs: tuple[Any, ...]) -> float:
    """Traces with torch.jit; its "flop" is one MAC, and norms are added to the total."""
    if hasattr(model, "config"):
        model.config.use_cache = False  # a trace cannot return the cache object
    analysis = _lib("fvcore.nn").FlopCountAnalysis(model, inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return float(analysis.total())


@_peer("thop", "thop", modes=(META, REAL))
def thop(model: Any, inputs: tuple[Any, ...]) -> float:
    """Hooks on known layers; reports MACs, plus operations of norms and pooling."""
    return float(_lib("thop").profile(model, inputs=inputs, verbose=False)[0])


def _ptflops(model: Any, inputs: tuple[Any, ...], backend: str) -> float:
    """Reports MACs; a failure is printed and returned as None, so the print is read back."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        macs, _ = _lib("ptflops").get_model_complexity_info(
            model,
            (1,),  # must be there, but input_constructor decides
            print_per_layer_stat=False,
            as_strings=False,
            input_constructor=lambda _: inputs[0] if len(inputs) == 1 else _by_name(model, inputs),
            backend=backend,
        )
    if macs is None:
        lines = [line for line in said.getvalue().splitlines() if line.startswith("<class")]
        raise CounterError(lines[0] if lines else "no number, no reason given")
    return float(macs)


def _by_name(model: Any, inputs: tuple[Any, ...]) -> Any:
    """Several inputs, in the form that ptflops passes on as named ones, or in order where the names are not known."""
    parameters = inspect.signature(model.forward).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        model.forward = functools.partial(_call_in_order, model.forward)
        return {f"input_{index}": value for index, value in enumerate(inputs)}
    return dict(zip([parameter.name for parameter in parameters], inputs, strict=False))


def _call_in_order(forward: Callable[..., Any], **inputs: Any) -> Any:
    return forward(*inputs.values())


@_peer("ptflops pytorch", "ptflops")
def ptflops_pytorch(model: Any, inputs: tuple[Any, ...]) -> float:
    """Hooks on layers plus patched functions of torch."""
    return _ptflops(model, inputs, "pytorch")


@_peer("ptflops aten", "ptflops")
def ptflops_aten(model: Any, inputs: tuple[Any, ...]) -> float:
    """A dispatch mode, like FlopCounterMode; its hooks stay on the model."""
    return _ptflops(model, inputs, "aten")


@_peer("torchinfo", "torchinfo", modes=(META, REAL))
def torchinfo(model: Any, inputs: tuple[Any, ...]) -> float:
    """Hooks on layers with parameters; reports mult-adds, which are MACs."""
    summary = _lib("torchinfo").summary
    stats = summary(model, input_data=list(inputs), verbose=0, device=_first_tensor(inputs).device)
    return float(stats.total_mult_adds)


@_peer("calflops", "calflops")
def calflops(model: Any, inputs: tuple[Any, ...]) -> float:
    """Patched functions of torch; reports FLOPs and MACs, of which the MACs are taken."""
    result = _lib("calflops").calculate_flops(model, args=list(inputs), print_results=False, output_as_string=False)
    return float(result[1])


@_peer("DeepSpeed", "deepspeed.profiling.flops_profiler")
def deepspeed(model: Any, inputs: tuple[Any, ...]) -> float:
    """Patched functions of torch; reports FLOPs and MACs. Its warm-up forward is left out."""
    result = _lib("deepspeed.profiling.flops_profiler").get_model_profile(
        model,
        args=list(inputs),
        print_profile=False,
        detailed=False,
        as_string=False,
        warm_up=0,
    )
    return float(result[1])


@_peer("torchprofile", "torchprofile")
def torchprofile(model: Any, inputs: tuple[Any, ...]) -> float:
    """Traces with torch.jit; reports MACs."""
    return float(_lib("torchprofile").profile_macs(model, inputs))


@_peer("torchscan", "torchscan", modes=(META, REAL))
def torchscan(model: Any, inputs: tuple[Any, ...]) -> float:
    """Hooks on layers; the total it calls MACs, which leaves out functional calls."""
    report = _lib("torchscan").crawl_module(model, args=inputs)
    return float(report["totals"]["macs"]["known_value"])


def _leave_family(_model: Any, _inputs: tuple[Any, ...]) -> None:
    """Make this process look like a main one, since torchlens refuses all children."""
    # It guards against children that inherit a half-done capture. This one was started
    # before torchlens was imported, so there is nothing to inherit.
    _lib("multiprocessing.process")._parent_process = None


@_peer("torchlens", "torchlens.user_funcs", before_all=_leave_family)
def torchlens(model: Any, inputs: tuple[Any, ...]) -> float:
    """Records every operation; on meta tensors it wants to be told to keep no values."""
    options: dict[str, Any] = {}
    if _first_tensor(inputs).device.type == "meta":
        capture = _lib("torchlens.options").CaptureOptions(structure_only=True)
        options["capture"] = capture
    return float(_lib("torchlens").trace(model, inputs, **options).total_macs_forward)


# What follows runs in a process of its own for each (counter, model): several counters
# replace functions of torch and some never put them back (torchlens: over a thousand),
# which would slow down or falsify whatever ran next in the same process.


@dataclass
class Outcome:
    """What a fresh process gave: a count, a time and a peak, or a line saying why not."""

    macs: float | None = None
    seconds: float | None = None
    peak_bytes: int | None = None
    failure: str = ""


def describe(error: BaseException, package: str = "") -> str:
    """Put an exception in one short line, preferring the cause that a wrapper hid."""
    if isinstance(error, ModuleNotFoundError) and error.name == package.partition(".")[0]:
        return "not installed"
    if isinstance(error, CounterError):
        return str(error)[:FAILURE_WIDTH]
    shown = error.__cause__ or error
    first_line = (str(shown).strip().splitlines() or [""])[0]
    return f"{type(shown).__name__}: {first_line}"[:FAILURE_WIDTH]


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _reset_peak() -> None:
    """Lower the recorded peak to what is held now, where the system offers that."""
    # Without this, what importing or building briefly held would hide the growth.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _silence() -> None:
    """Send everything this process prints to nowhere, native libraries included."""
    sys.stdout.flush()
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)


def _set_up(peer: Peer, model_name: str, mode: str) -> tuple[Any, tuple[Any, ...]]:
    """Import all that is needed and return the model and inputs that `mode` asks for."""
    _silence()
    models.preload(model_name)
    importlib.import_module(peer.loads)
    _lib("torch").set_num_threads(1)
    model, inputs = models.build(model_name, "meta" if mode == META else "cpu")
    if peer.before_all is not None:
        peer.before_all(model, inputs)
    return model, inputs


def _copy_for(peer: Peer, model: Any) -> Any:
    """Return a model that no earlier run has left hooks or attributes on."""
    return copy.deepcopy(model) if peer.fresh_model else model


def _run(peer: Peer, model: Any, inputs: tuple[Any, ...], mode: str) -> tuple[float, float]:
    """Return the count and the seconds it took; what comes before it is not timed."""
    if peer.before_each is not None:
        peer.before_each(model, inputs)
    gc.collect()
    with _lib("torch").set_grad_enabled(mode == REAL_GRAD):
        start = time.perf_counter()
        macs = peer.count(model, inputs)
        return macs, time.perf_counter() - start


def measure_once(link: Link, peer_name: str, model_name: str, mode: str) -> None:
    """Send the `Outcome` of a counter: peak of the first run, best time of some later ones.

    The first run also pays for late imports and for code that compiles itself.
    """
    peer = PEERS[peer_name]
    try:
        model, inputs = _set_up(peer, model_name, mode)
        copies = [_copy_for(peer, model) for _ in range(PROBE_RUNS)]
        gc.collect()
        _reset_peak()
        held = _peak_bytes()
        macs, _ = _run(peer, model, inputs, mode)
        grown = _peak_bytes() - held
        seconds = [_run(peer, copies[0], inputs, mode)[1]]
        for subject in copies[1:]:
            if sum(seconds) < 1.0:
                seconds.append(_run(peer, subject, inputs, mode)[1])
        link.send(Outcome(macs, min(seconds), grown))
    except Exception as error:  # noqa: BLE001 - whatever a counter raises is the result
        link.send(Outcome(failure=describe(error, peer.loads)))


def serve_timings(link: Link, peer_name: str, model_name: str, mode: str) -> None:
    """Time a turn for each message received and send its seconds, or a failure as text."""
    peer = PEERS[peer_name]
    try:
        model, inputs = _set_up(peer, model_name, mode)
        gc.freeze()  # model and modules need no visit by the collection before each run
        link.send([_run(peer, _copy_for(peer, model), inputs, mode)[1]])  # not counted
        while link.recv():
            turn: list[float] = []
            while sum(turn) < TURN_SECONDS and len(turn) < TURN_RUNS:
                turn.append(_run(peer, _copy_for(peer, model), inputs, mode)[1])
            link.send(turn)
    except Exception as error:  # noqa: BLE001 - the table shows it and the others go on
        link.send(describe(error, peer.loads))


class Worker:
    """A process that works for one (counter, model), with a time limit on each answer."""

    def __init__(self, target: Callable[..., None], *job: str) -> None:
        """Start `target` in a process that has imported torch and run nothing."""
        context = processes()
        self.link, far_end = context.Pipe()
        self.process = context.Process(target=target, args=(far_end, *job), daemon=True)
        self.process.start()
        far_end.close()

    def answer(self) -> Any:
        """Return what the process sends next, or a line that says why nothing came."""
        if not self.link.poll(PATIENCE_SECONDS):
            return f"no answer in {PATIENCE_SECONDS:.0f} s"
        try:
            return self.link.recv()
        except EOFError:
            self.process.join()
            return f"process ended with exit code {self.process.exitcode}"

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self.link.close()
        self.process.kill()
        self.process.join()


preload: list[str] = []  # more packages that new processes should hold; to be set before the first one starts


def processes() -> Any:
    """Return the way to start processes: copies of one that holds torch, where possible."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torchvision", *preload])
    return context


def run_once(peer: str, model: str, mode: str) -> Outcome:
    """Run one counter in a fresh process and return what came of it."""
    worker = Worker(measure_once, peer, model, mode)
    answer = worker.answer()
    worker.end()
    return answer if isinstance(answer, Outcome) else Outcome(failure=str(answer))
