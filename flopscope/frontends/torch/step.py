"""A training step of a PyTorch model -> a `Graph` of its forward and backward ops, on shapes alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten

from flopscope.errors import FlopscopeError, InputError, NeedsDataError, TraceError
from flopscope.frontends.torch.accumulation import watch_sums
from flopscope.frontends.torch.adoption import adopt_inputs, elements_with_values, small_integers
from flopscope.frontends.torch.cells import type_of
from flopscope.frontends.torch.census import Census, take_census
from flopscope.frontends.torch.checkpoints import checkpointing, chosen
from flopscope.frontends.torch.guard import untouched
from flopscope.frontends.torch.losses import Loss, loss_of
from flopscope.frontends.torch.programs import unwrapped
from flopscope.frontends.torch.recorder import Recorder
from flopscope.frontends.torch.scopes import listening
from flopscope.frontends.torch.stand_ins import parameter_for, stand_in_for
from flopscope.frontends.torch.step_tracer import StepTracer
from flopscope.frontends.torch.surroundings import as_written, without_collection
from flopscope.frontends.torch.trace import complete, explained, hint_on, name_of, tensors_in
from flopscope.frontends.torch.tracer import MOST_CONCRETE_ELEMENTS, DataNeeded
from flopscope.graph import Graph
from flopscope.step import LOSS_SCOPE, Step

AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def trace_step(
    model: nn.Module,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    loss: Loss | None = None,
    amp: str | None = None,
    accumulate: int = 1,
    checkpoint: Sequence[str] = (),
) -> Step:
    """Trace one training step: forward, loss and backward, with the gradients as they are left for the optimizer.

    The module runs in the mode and with the ``requires_grad`` flags that it has. Its parameters are exchanged for stand-ins while it is
    traced, and put back; it must not be used by another thread meanwhile.

    Args:
        model: the module.
        args: its positional inputs, as `trace` takes them.
        kwargs: its named inputs.
        loss: a function from the model's output to the tensor that is minimised; by default see `losses.loss_of`.
        amp: run forward and loss under autocast: ``"bf16"`` or ``"fp16"``.
        accumulate: forward and backward passes per step; the gradients of all but the first are added to those that are there.
        checkpoint: the paths of the modules whose activations are not kept, but computed again in the backward pass.

    Raises:
        InputError: the model has no parameter that wants a gradient, or the loss does not depend on one.
        TraceError: the model or the loss raised; the cause is chained.
        NeedsDataError: the model reads values, which a step on shapes does not have.
    """
    with _disable_current_modes(), without_collection():
        model, args, kwargs = unwrapped(model, args, kwargs or {})
        census = take_census(model)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise InputError(f"{name_of(model)} has no parameter that wants a gradient, so there is nothing to train")
        try:
            return _Tracing(model, args, dict(kwargs or {}), census, loss).run(amp, accumulate, checkpoint)
        except DataNeeded as need:
            where = f"{need.target} in {need.scope or 'the model itself'}"
            raise NeedsDataError(
                f"the training step reads the values of tensors ({where}), which it does not have: it is traced on shapes alone. Train a "
                "variant that does not look at them, or analyse the forward pass alone"
            ) from None


class _Tracing:
    """One training step while it is traced."""

    def __init__(self, model: nn.Module, args: Sequence[Any], kwargs: dict[str, Any], census: Census, loss: Loss | None) -> None:
        self.model, self.args, self.kwargs, self.census, self.loss = model, args, kwargs, census, loss
        limit = max([MOST_CONCRETE_ELEMENTS, *elements_with_values((args, kwargs))])
        self.tracer = StepTracer(census.inventory, small_integers, execute=False, most_concrete=limit, readable=())
        self.recorder = Recorder(self.tracer, census, ())
        self.step = Step(Graph(name=name_of(model)), self.tracer.phases)
        self.parameters: dict[str, Tensor] = {}
        """The stand-ins of the parameters."""

    def run(self, amp: str | None, accumulate: int, checkpoint: Sequence[str]) -> Step:
        """Trace it."""
        graph, tracer = self.step.graph, self.tracer
        twins = adopt_inputs(tracer, self.args, self.kwargs, graph, False, _input_like)
        self._know_inputs(twins)
        with untouched(self.census.modules, gradients=True), as_written(any(self.census.programs.values())):
            self._exchange_weights()
            self.step.checkpoint = tuple(chosen(self.model, checkpoint))
            with listening(_Depth(self.recorder, tracer)), checkpointing(self.model, self.step.checkpoint), torch.inference_mode(False):
                try:
                    # Looking for anomalies reads the values of gradients.
                    with torch.enable_grad(), torch.autograd.set_detect_anomaly(False), tracer:
                        held = self._passes(twins, amp, accumulate)
                except (FlopscopeError, KeyboardInterrupt):
                    raise
                except (Exception, SystemExit) as error:
                    raise self._explained(error) from error
                else:
                    graph.outputs = [tracer.value_of(leaf) for leaf in tensors_in(held)]
                    self._take_gradients()
                    tracer.mark()
                    graph.deaths = tracer.deaths
                finally:
                    tracer.close()
        complete(graph, tracer, self.recorder, self.census, False)
        graph.annotations["phase"] = tracer.phases
        self.step.amp, self.step.accumulate = amp, accumulate
        return self.step

    def _know_inputs(self, twins: tuple[Any, Any]) -> None:
        """A loss may read the inputs themselves, as that of an autoencoder does: they are the tensors that their twins stand for."""
        for tensor, twin in zip(tree_flatten((tuple(self.args), self.kwargs))[0], tree_flatten(twins)[0], strict=False):
            if not isinstance(tensor, Tensor) or not isinstance(twin, Tensor) or tensor.requires_grad or tensor.is_nested:
                continue
            is_new = self.tracer.known(tensor) is None
            if is_new and tensor.layout is torch.strided and type_of(tensor) is type_of(twin):
                self.tracer.adopt(tensor, self.tracer.value_of(twin), self.tracer.data_of(twin))

    def _explained(self, error: BaseException) -> FlopscopeError:
        graph, tracer = self.step.graph, self.tracer
        if "support saved tensor hooks" in str(error):
            return TraceError(
                f"{graph.name} uses torch.func.grad or the like in a training step, where torch does not tell what is kept for the "
                "backward pass. Use torch.autograd.grad(..., create_graph=True), or analyse the forward pass alone"
            )
        where = "in its backward pass" if tracer.backward else "in the loss" if tracer.scope == LOSS_SCOPE else None
        return explained(error, tracer, self.recorder, graph, hint_on((self.args, self.kwargs)), where)

    def _exchange_weights(self) -> None:
        """Put a stand-in into the place of each parameter and buffer; `untouched` puts the weights back."""
        tracer, made = self.tracer, dict[int, Tensor]()
        known = self.census.inventory.weights

        def twin_of(tensor: Tensor, is_parameter: bool) -> Tensor:
            if tensor.layout is not torch.strided or id(tensor) not in known:
                return tensor
            if id(tensor) not in made:
                name = known[id(tensor)][0]
                twin = parameter_for(tensor) if is_parameter else stand_in_for(tensor)
                self._take_hooks(tensor, twin)
                value = tracer.new_value(type_of(tensor), role="parameter" if is_parameter else "buffer", name=name)
                tracer.adopt(twin, value, None)
                tracer.weights[name] = value
                made[id(tensor)] = twin
                if is_parameter:
                    self.parameters[name] = twin
            return made[id(tensor)]

        for module in self.census.modules:
            if isinstance(module, torch.jit.ScriptModule):
                continue
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = twin_of(parameter, True)  # type: ignore[assignment]
            for name, buffer in module._buffers.items():
                if buffer is not None and small_integers(buffer, False) is None:
                    module._buffers[name] = twin_of(buffer, False)
            flat = module.__dict__.get("_flat_weights")  # recurrent layers keep a second list of their weights
            if isinstance(flat, list):
                module.__dict__["_flat_weights"] = [None if weight is None else twin_of(weight, True) for weight in flat]

    def _take_hooks(self, tensor: Tensor, twin: Tensor) -> None:
        """The stand-in calls what is to be called with the gradient of a parameter. What runs after that is the optimizer's."""
        for hook in (tensor._backward_hooks or {}).values():
            twin.register_hook(hook)
        if getattr(tensor, "_post_accumulate_grad_hooks", None):
            self.tracer.note("hooks that run after a gradient is accumulated (register_post_accumulate_grad_hook) were left out")

    def _passes(self, twins: tuple[Any, Any], amp: str | None, accumulate: int) -> Any:
        """The forward and backward passes of the step: one, or the first and one that stands for all others."""
        held = self._pass(twins, amp)
        if accumulate > 1:
            self.tracer.times = accumulate - 1
            del held  # a training loop overwrites the output and the loss of the pass before
            held = self._pass(twins, amp)
        return held

    def _pass(self, twins: tuple[Any, Any], amp: str | None) -> Any:
        tracer = self.tracer
        tracer.backward = False
        self.step.saved.clear()
        with self._saving(), autocast(amp):
            output = self.model(*twins[0], **twins[1])
            tracer.scope = LOSS_SCOPE
            self.recorder.add_place(LOSS_SCOPE, "Loss")
            loss, self.step.loss = loss_of(output, self.loss)
        if not loss.requires_grad:
            raise self._independent()
        tracer.backward = True
        watch_sums(loss.grad_fn, tracer.node_ended)
        loss.backward()
        tracer.scope = ""
        return output, loss

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Note what autograd keeps for the backward pass. Weights are kept anyway, so they are not counted."""
        tracer, saved = self.tracer, self.step.saved

        def pack(tensor: Tensor) -> Tensor:
            root = tracer.cell_of(tensor).root
            if root.value.role not in ("parameter", "buffer"):
                saved[root.storage] = root.type.bytes(root.type.extent)
            # A result that its own node held would hold that node in turn.
            return tensor if tensor.grad_fn is None else tracer.handle_on(tensor)

        def unpack(tensor: Tensor) -> Tensor:
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            yield

    def _take_gradients(self) -> None:
        found = {name: twin.grad for name, twin in self.parameters.items() if twin.grad is not None}
        for name, gradient in (found | self.tracer.gradients()).items():
            self.step.gradients[name] = self.tracer.cell_of(gradient).storage
        if not self.step.gradients:
            raise self._independent()

    def _independent(self) -> InputError:
        return InputError(
            f"the loss of {self.step.graph.name} ({self.step.loss}) does not depend on a parameter that wants a gradient: it was computed "
            "under no_grad, or from detached tensors"
        )


def _input_like(tensor: Tensor) -> Tensor:
    return stand_in_for(tensor, requires_grad=tensor.requires_grad)


@contextmanager
def autocast(amp: str | None) -> Iterator[None]:
    """Mixed precision as torch does it, or nothing.

    Raises:
        InputError: there is no such mixed precision.
    """
    if amp is None:
        with nullcontext():
            yield
        return
    if amp not in AMP_DTYPES:
        raise InputError(f"mixed precision is {' or '.join(AMP_DTYPES)}, but {amp!r} was asked for")
    with torch.autocast("cpu", dtype=AMP_DTYPES[amp]):
        yield


class _Depth:
    """Tells the tracer how many modules are running, and the recorder the rest."""

    def __init__(self, recorder: Recorder, tracer: StepTracer) -> None:
        self._recorder, self._tracer = recorder, tracer

    def enter(self, module: nn.Module, args: Any) -> None:
        """A module starts."""
        self._tracer.deep += 1
        self._recorder.enter(module, args)

    def leave(self, module: nn.Module, kwargs: Any, output: Any) -> None:
        """A module ends."""
        self._tracer.deep -= 1
        self._recorder.leave(module, kwargs, output)
