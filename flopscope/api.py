"""The verbs: analyze a model or its training, compare several, tell what changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flopscope.analyses.attention import attention_notes
from flopscope.analyses.totals import weight_of
from flopscope.errors import InputError, OptionError, UncountedError
from flopscope.frontends import onnx
from flopscope.frontends.onnx import is_onnx
from flopscope.report import Comparison, Report
from flopscope.report.diff import Diff
from flopscope.report.diff import diff as diff_of
from flopscope.report.snapshot import Snapshot, read_saved, snapshot
from flopscope.rules import module_classes, price

if TYPE_CHECKING:
    from torch import nn

    from flopscope.analyses.training.optimizers import Optimizer
    from flopscope.analyses.training.sharding import Strategy
    from flopscope.frontends.torch.trace import Attention, Execute
    from flopscope.graph import Graph
    from flopscope.report.training import Training


def analyze(
    model: nn.Module | Callable[..., Any] | Any,
    *args: Any,
    strict: bool = False,
    execute: Execute = "auto",
    attention: Attention = "dense",
    **kwargs: Any,
) -> Report:
    """Tell what one call of a model costs, without running it.

    A module is counted in the mode (training or evaluation) in which it is, and nothing is left behind on it. Of an ONNX model the
    weights are not read, and torch is not imported.

    Args:
        model: a module, any function of tensors, or an ONNX model: the path of a ``.onnx`` file, its bytes, or an ``onnx.ModelProto``.
        *args: the inputs, nested as the model wants them. A tensor stands for its shape and dtype; integers and booleans keep their
            values. A string such as ``"1x3x224x224"`` or ``"1x128:int64"`` stands for a tensor of that shape, in the dtype of the
            model's parameters unless it says otherwise. An ONNX model needs none where the file declares its shapes.
        strict: raise if any op is not counted.
        execute: whether the model may be run for real on the CPU where it reads the values of tensors: ``"auto"``, ``"never"`` or
            ``"always"``. ONNX models are never run.
        attention: how masked attention is counted: ``"dense"`` (every query meets every key, as dense kernels compute it), or
            ``"effective"`` (only the pairs that a causal, sliding-window or padding mask allows; of fused attention ops whose mask has
            known values). The report's notes say which.
        **kwargs: named inputs. A model whose inputs are called ``strict``, ``execute`` or ``attention`` can be wrapped in a function.
            Of ONNX models also ``dims`` (sizes of dynamic dimensions by name, ``{"batch": 8}``) and ``branch`` (which branch of an ``If``
            counts whose condition is not known: ``"costlier"``, ``"then"`` or ``"else"``) and ``check=True`` (look whether weights
            outside the file are there, and long enough).

    Raises:
        InputError: the inputs cannot be read or do not fit the model, or an ONNX model is damaged.
        OptionError: an ONNX model has no such dimension.
        TraceError: the model raised; the cause is chained.
        NeedsDataError: the model reads values, and may or can not be run.
        UncountedError: ``strict``, and an op is not counted; the error carries the report.

    Examples:
        >>> import torch, flopscope
        >>> report = flopscope.analyze(torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), "1x3x32x32")
        >>> report.total.macs == 8 * 32 * 32 * 3 * 3 * 3
        True
    """
    report = Report(
        _onnx_graph(model, args, kwargs, attention) if is_onnx(model) else _torch_graph(model, args, kwargs, execute, attention)
    )
    if strict and report.total.partial:
        listed = ", ".join(sorted({f"{row.op} in {row.scope or 'the model itself'}" for row in report.uncounted}))
        raise UncountedError(
            f"{report.name} runs ops that no rule prices: {listed}. Register a formula with flopscope.rule, or do without strict to get "
            "a lower bound.",
            report,
        )
    return report


def _onnx_graph(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], attention: Attention) -> Graph:
    from flopscope.frontends.onnx import trace

    if attention != "dense":
        raise OptionError("attention of ONNX models is counted dense: a file does not say what its masks hold")
    named = dict(kwargs)
    options = {name: named.pop(name) for name in ("dims", "branch", "check") if name in named}
    return trace(model, args, named, price=price, **options)


def _torch_graph(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], execute: Execute, attention: Attention) -> Graph:
    if not callable(model):
        what = f"{model!r}" if isinstance(model, str) else f"a {type(model).__name__}"
        raise InputError(f"a model must be a torch.nn.Module, a function, or an ONNX model (such as 'model.onnx'), but {what} was given")
    from torch.utils._python_dispatch import _disable_current_modes

    from flopscope.frontends.torch.inputs import dtype_of, tensors_from_text
    from flopscope.frontends.torch.programs import unwrapped
    from flopscope.frontends.torch.trace import trace

    with _disable_current_modes():
        model, args, kwargs = unwrapped(model, args, kwargs)
        args, kwargs = tensors_from_text((args, kwargs), dtype_of(model))
    graph = trace(model, args, kwargs, execute=execute, attention=attention, opaque=module_classes(), weigh=weight_of)
    graph.notes.extend(attention_notes(graph, effective=attention == "effective"))
    return graph


def training(
    model: nn.Module,
    *args: Any,
    loss: Callable[[Any], Any] | None = None,
    optimizer: str | Optimizer = "adamw",
    amp: str | None = None,
    accumulate: int = 1,
    checkpoint: Sequence[str] = (),
    shards: int = 1,
    strategy: Strategy = "fsdp",
    **kwargs: Any,
) -> Training:
    """Tell what a training step of a PyTorch model costs, without running it: FLOPs of each phase, and memory.

    Forward and backward passes are traced with autograd on, so frozen layers, detached branches and parts under ``no_grad`` come out as
    they are. The module is taken in the mode (training or evaluation) in which it is, and left as it was found; it must not be used by
    another thread meanwhile.

    Args:
        model: a module.
        *args: the inputs, as `analyze` takes them; the batch is theirs.
        loss: a function from the model's output to the tensor that is minimised. By default the output's ``loss``, or the cross-entropy of
            its logits against a class per position, or else the sum of all outputs; the report says which.
        optimizer: a name such as ``"sgd"``, ``"adamw"``, ``"adafactor"`` or ``"adam8bit"``, or an
            `flopscope.analyses.training.optimizers.Optimizer` with settings of its own.
        amp: mixed precision: forward and loss under autocast to ``"bf16"`` or ``"fp16"``.
        accumulate: forward and backward passes per step of the optimizer.
        checkpoint: paths of modules (with ``*`` for any) whose activations are computed again in the backward pass and not kept;
            ``"auto"`` stands for the blocks that the network repeats.
        shards: devices that train together, each on inputs like these; what one of them holds is then told by formula.
        strategy: what they divide: ``"ddp"`` nothing, ``"zero1"`` the optimizer's state, ``"zero2"`` the gradients too, ``"fsdp"`` all.
        **kwargs: named inputs.

    Raises:
        InputError: the inputs do not fit the model, nothing in it is trainable, or the loss is no single number.
        OptionError: there is no such optimizer, precision or module.
        TraceError: the model or the loss raised; the cause is chained.
        NeedsDataError: the model reads values, which a step on shapes does not have.

    Examples:
        >>> import torch, flopscope
        >>> step = flopscope.training(torch.nn.Linear(8, 4), "2x8", optimizer="sgd")
        >>> step.backward.macs == 2 * 8 * 4  # the gradient of the weight alone: the input wants none
        True
    """
    from torch import nn as torch_nn

    from flopscope.analyses.training.chosen import optimizer_of
    from flopscope.analyses.training.sharding import check_shards
    from flopscope.frontends.torch.inputs import dtype_of, tensors_from_text
    from flopscope.frontends.torch.step import trace_step
    from flopscope.report.training import Training

    if not isinstance(model, torch_nn.Module):
        raise InputError(f"a torch.nn.Module is needed to train, but a {type(model).__name__} was given")
    if not isinstance(accumulate, int) or accumulate < 1:
        raise OptionError(f"accumulate counts the passes of a step, 1 or more, but is {accumulate!r}")
    checkpoint = (checkpoint,) if isinstance(checkpoint, str) else checkpoint
    if not all(isinstance(path, str) for path in checkpoint):
        raise OptionError(f"checkpoint takes paths of modules, or 'auto', but {checkpoint!r} was given")
    if loss is not None and not callable(loss):
        raise OptionError(f"the loss must be a function from the model's output to a tensor, but is {loss!r}")
    chosen = optimizer_of(optimizer)
    check_shards(shards, strategy)
    given = tensors_from_text((args, kwargs), dtype_of(model))
    step = trace_step(model, *given, loss=loss, amp=amp, accumulate=accumulate, checkpoint=checkpoint)
    return Training(step, chosen, shards, strategy)


def compare(models: Mapping[str, Any]) -> Comparison:
    """Tell what several models cost, in one table.

    Args:
        models: by the name to show, either a `Report`, or a tuple of a model and its inputs as `analyze` takes them, or a SPEC such as
            ``"torchvision:resnet50"`` or ``"model.onnx"``.

    Raises:
        FlopscopeError: as `analyze` and `load` do.

    Examples:
        >>> import torch, flopscope
        >>> table = flopscope.compare({"small": (torch.nn.Linear(8, 4), "1x8"), "large": (torch.nn.Linear(80, 40), "1x80")})
        >>> [row["macs"] for row in table.to_dicts()]
        [32, 3200]
    """
    if not models:
        raise InputError("there is nothing to compare: give at least one model by the name to show")
    return Comparison({name: _report_of(name, model) for name, model in models.items()})


def diff(before: Any, after: Any) -> Diff:
    """Tell what changes from one model to another: totals, modules (matched by their paths) and kinds of op.

    Args:
        before: what `compare` takes for a model (a `Report`, a tuple of a model and its inputs, or a SPEC), or the path of a report that
            was saved as JSON.
        after: the same.

    Raises:
        FlopscopeError: as `analyze` and `load` do.
        SavedError: a saved report is damaged, or none.

    Examples:
        >>> import torch, flopscope
        >>> change = flopscope.diff((torch.nn.Linear(8, 4), "1x8"), (torch.nn.Linear(8, 6), "1x8"))
        >>> change.totals["macs"].change
        16
    """
    return diff_of(_snapshot_of(before), _snapshot_of(after))


def _snapshot_of(model: Any) -> Snapshot:
    if isinstance(model, Path) or (isinstance(model, str) and model.endswith(".json") and not model.startswith("hf:")):
        return snapshot(_report_of(str(model), str(model))) if Path(model).suffix == ".onnx" else read_saved(model)
    return snapshot(_report_of("this", model))


def clear_memo() -> None:
    """Forget what was learned of ops in earlier calls of `analyze`, as a new process would not know it.

    Examples:
        >>> import flopscope
        >>> flopscope.clear_memo()  # before a measurement of the first call
    """
    onnx.clear_memo()
    torch_memo = sys.modules.get("flopscope.frontends.torch.memo")
    if torch_memo is not None:  # nothing is learned before torch is imported
        torch_memo.clear_memo()


def _report_of(name: str, model: Any) -> Report:
    if isinstance(model, Report):
        return model
    if is_onnx(model):
        return analyze(model)
    if isinstance(model, str):
        from flopscope.frontends.sources.spec import load

        loaded = load(model)
        return loaded.noted(analyze(loaded.model, *loaded.args, **loaded.kwargs))
    if isinstance(model, tuple) and model and (callable(model[0]) or is_onnx(model[0])):
        return analyze(model[0], *model[1:])
    raise InputError(
        f"{name!r} cannot be compared: expected a Report, a tuple (model, inputs...) or a SPEC such as 'torchvision:resnet50', "
        f"but a {type(model).__name__} was given"
    )
