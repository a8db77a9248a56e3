"""Steps of models that use autograd in less common ways, against steps that really run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import flopscope
from flopscope.errors import FlopscopeError, InputError, OptionError, TraceError
from tests.training.test_step import assert_equal

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
ROWS = torch.randn(64, 64)
IMAGES = torch.randn(4, 8, 24, 24)
SEQUENCES = torch.randn(4, 20, 64)


class Model(nn.Module):
    """A function of its modules and its inputs."""

    def __init__(self, function: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *args: Any) -> Any:
        return self.function(self, *args)


def linear(function: Callable[..., Any]) -> nn.Module:
    return Model(function, a=nn.Linear(64, 64), b=nn.Linear(64, 64))


def blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)) for _ in range(count)))


def summed(output: Any) -> Tensor:
    """A loss of all outputs that have a gradient."""
    leaves = list(output) if isinstance(output, (tuple, list)) else [output]
    total = torch.zeros(())
    for leaf in leaves:
        total = total + leaf.square().mean() if leaf.requires_grad else total
    return total


class Doubled(torch.autograd.Function):
    """Writes to its input, and says so."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * 2


def slices_written(model: Any, x: Tensor) -> Tensor:
    y = model.a(x).clone()
    y[:, :10].mul_(2)
    y[:, 5:9] = model.b(x)[:, :4]
    return y * y


def indexed(model: Any, x: Tensor, at: Tensor) -> Tensor:
    y = model.a(x)
    whole = torch.zeros(80, 64).index_put((at,), y, accumulate=True).index_add(0, at, y)
    return whole.sum(0) + y[at] + torch.zeros_like(y).scatter_add(0, at[:, None].expand(64, 64), y)


def of_chosen_experts(model: Any, x: Tensor) -> Tensor:
    weights, chosen = model.gate(x).softmax(-1).topk(2)
    made = torch.stack([expert(x) for expert in model.experts], 1)
    return (made.gather(1, chosen[..., None].expand(-1, -1, 64)) * weights[..., None]).sum(1)


def quantised(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """The distances have a graph of their own, which nothing needs once the nearest codes are known."""
    nearest = torch.cdist(model.a(x), model.codes.weight).argmin(1)
    codes = model.codes(nearest)
    return codes, (codes - model.a(x).detach()).square().mean()


def penalised(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    y = model.body(x)
    (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    return y, gradient


def hooked(model: Any, x: Tensor) -> Tensor:
    y = model.a(x)
    y.register_hook(lambda gradient: gradient * 2 + 1)
    return model.b(y.relu())


def hooked_weights() -> nn.Module:
    model = blocks(64, 1)
    model[0][0].weight.register_hook(lambda gradient: gradient.clamp(-1, 1))
    return model


def again(model: Any, x: Tensor) -> Tensor:
    for block in model.blocks:
        x = checkpoint(lambda y, block=block: y + block(y), x, use_reentrant=False)
    return x


def attention(**options: Any) -> nn.Module:
    layer = nn.MultiheadAttention(64, 4, batch_first=True)
    return Model(lambda model, x, *masks: model.layer(x, x, x, *masks, **options)[0], layer=layer)


def in_heads(model: Any, x: Tensor, **options: Any) -> Tensor:
    q, k, v = model.project(x).view(4, 20, 3, 4, 16).permute(2, 0, 3, 1, 4)
    return functional.scaled_dot_product_attention(q, k, v, **options)


def encoded(model: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean, log_variance = model.a(x).chunk(2, -1)
    return model.decode(mean + torch.randn_like(mean) * (log_variance / 2).exp()), mean, log_variance


def reconstruction(output: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    decoded, mean, log_variance = output
    return functional.mse_loss(decoded, ROWS) - 0.5 * (1 + log_variance - mean**2 - log_variance.exp()).mean()


MASK = torch.full((20, 20), float("-inf")).triu(1)
Case = tuple[Callable[[], nn.Module], tuple[Any, ...], Callable[[Any], Tensor]]
CASES: dict[str, Case] = {
    "attention": (lambda: attention(need_weights=False), (SEQUENCES,), summed),
    "attention, mask and weights": (lambda: attention(attn_mask=MASK), (SEQUENCES,), summed),
    "causal attention": (lambda: Model(lambda m, x: in_heads(m, x, is_causal=True), project=nn.Linear(64, 192)), (SEQUENCES,), summed),
    "attention, dropout": (lambda: Model(lambda m, x: in_heads(m, x, dropout_p=0.1), project=nn.Linear(64, 192)), (SEQUENCES,), summed),
    "transformer": (lambda: nn.Transformer(32, 4, 1, 1, 64, batch_first=True), (torch.randn(3, 10, 32), torch.randn(3, 8, 32)), summed),
    "rows": (lambda: linear(lambda m, x: m.a(x)[0] * 2 + m.a(x)[1] * 3 + m.a(x)[2]), (ROWS,), summed),
    "read three times": (lambda: linear(lambda m, x: (lambda y: y[0] * 2 + y[1] * 3 + y[2])(m.a(x))), (ROWS,), summed),
    "residuals": (lambda: linear(lambda m, x: (lambda y: y + m.b(y).relu() + y)(m.a(x))), (ROWS,), summed),
    "one layer thrice": (lambda: linear(lambda m, x: m.a(m.a(m.a(x).tanh()).tanh())), (ROWS,), summed),
    "slices written": (lambda: linear(slices_written), (ROWS,), summed),
    "indices": (lambda: linear(indexed), (ROWS, torch.arange(64)), summed),
    "selections": (
        lambda: linear(lambda m, x: [m.a(x).topk(5)[0], m.a(x).sort(1)[0], m.a(x).max(1)[0], m.a(x).cumsum(1)]),
        (ROWS,),
        summed,
    ),
    "experts": (
        lambda: Model(of_chosen_experts, gate=nn.Linear(64, 4), experts=nn.ModuleList(nn.Linear(64, 64) for _ in range(4))),
        (ROWS,),
        summed,
    ),
    "codes": (lambda: Model(quantised, a=nn.Linear(64, 32), codes=nn.Embedding(50, 32)), (ROWS,), summed),
    "gradient penalty": (
        lambda: Model(penalised, body=nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))),
        (ROWS,),
        lambda output: output[0].mean() + (output[1].norm(dim=1) - 1).square().mean(),
    ),
    "hook on a tensor": (lambda: linear(hooked), (ROWS,), summed),
    "hook on a weight": (hooked_weights, (ROWS,), summed),
    "writes to its input": (lambda: linear(lambda m, x: Doubled.apply(m.a(x)).relu()), (ROWS,), summed),
    "checkpoints": (lambda: Model(again, blocks=blocks(128, 3)), (torch.randn(512, 128),), summed),
    "reentrant checkpoint": (
        lambda: Model(lambda m, x: checkpoint(m.b, m.a(x), use_reentrant=True), a=nn.Linear(128, 128), b=blocks(128, 3)),
        (torch.randn(512, 128),),
        summed,
    ),
    "spectral norm": (lambda: nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(8, 16, 3)), nn.ReLU()), (IMAGES,), summed),
    "weight norm": (lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(64, 64)), nn.ReLU()), (ROWS,), summed),
    "channels last": (
        lambda: nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(inplace=True)).to(memory_format=torch.channels_last),
        (IMAGES.contiguous(memory_format=torch.channels_last),),
        summed,
    ),
    "recurrent": (lambda: Model(lambda m, x: m.layer(x)[0], layer=nn.GRU(64, 24, 2, bidirectional=True)), (SEQUENCES,), summed),
    "autoencoder": (lambda: Model(encoded, a=nn.Linear(64, 32), decode=nn.Linear(16, 64)), (ROWS,), reconstruction),
    "squares": (lambda: nn.Linear(64, 64), (torch.randn(512, 64),), lambda o: functional.mse_loss(o, torch.zeros_like(o))),
    "squares, scaled": (lambda: nn.Linear(64, 64), (torch.randn(512, 64),), lambda o: 2 * functional.mse_loss(o, torch.zeros_like(o))),
    "smooth loss": (lambda: nn.Linear(64, 64), (torch.randn(512, 64),), lambda o: functional.smooth_l1_loss(o, torch.zeros_like(o))),
    "cross-entropy of bits": (
        lambda: nn.Sequential(nn.Linear(64, 64), nn.Sigmoid()),
        (torch.randn(512, 64),),
        lambda o: functional.binary_cross_entropy(o, torch.zeros_like(o)),
    ),
    "contrastive": (
        lambda: nn.Linear(64, 64),
        (ROWS,),
        lambda o: functional.cross_entropy(functional.normalize(o) @ functional.normalize(o).t() / 0.07, torch.arange(64)),
    ),
    "Fourier": (lambda: Model(lambda m, x: torch.fft.irfft2(torch.fft.rfft2(m.a(x)) * 2), a=nn.Conv2d(8, 8, 1)), (IMAGES,), summed),
    "scripted": (lambda: torch.jit.trace(blocks(64, 1), ROWS), (ROWS,), summed),
}


@pytest.mark.parametrize("name", CASES)
def test_step(name: str) -> None:
    make, args, loss = CASES[name]
    assert_equal(make(), *args, loss=loss)


def test_gradients_of_scripted_modules_are_left() -> None:
    model = torch.jit.script(blocks(64, 1))
    model(ROWS).sum().backward()
    before = [(parameter.grad, parameter.grad.clone()) for parameter in model.parameters()]
    found = flopscope.training(model, ROWS)
    assert found.memory.gradient_bytes == 4 * (2 * 64 * 128 + 64 + 128)
    for parameter, (gradient, values) in zip(model.parameters(), before, strict=True):
        assert parameter.grad is gradient
        assert torch.equal(gradient, values)


def test_parameters_outside_the_modules() -> None:
    hidden = nn.Parameter(torch.randn(64, 64))
    hidden.grad = kept = torch.ones(64, 64)
    found = flopscope.training(linear(lambda model, x: model.a(x) @ hidden), ROWS)
    assert found.memory.gradient_bytes == 4 * (64 * 64 + 64 + 64 * 64)
    assert hidden.grad is kept


def test_connectionist_loss() -> None:
    def loss(output: Tensor) -> Tensor:
        return functional.ctc_loss(output.log_softmax(-1), torch.ones(4, 7, dtype=torch.int64), (30,) * 4, (5, 4, 3, 2))

    model = nn.Linear(64, 20)
    found = flopscope.training(model, torch.randn(30, 4, 64), loss=loss)
    (op,) = (op for op in found.step.graph.ops if op.kind == "_ctc_loss")
    assert [value.type.shape for value in op.outputs] == [(4,), (4, 30, 2 * 5 + 1)]  # the longest target, with blanks around


def test_complex_products_as_torch_counts_them() -> None:
    a, b = torch.randn(8, 6, dtype=torch.complex64), torch.randn(6, 5, dtype=torch.complex64)
    picture, kernels = torch.randn(1, 3, 8, 8, dtype=torch.complex64), torch.randn(4, 3, 3, 3, dtype=torch.complex64)
    for function, args in ((torch.matmul, (a, b)), (functional.conv2d, (picture, kernels))):
        with FlopCounterMode(display=False) as counter:
            function(*args)
        assert flopscope.analyze(function, *args).under("torch") == counter.get_total_flops()


class Boom(torch.autograd.Function):
    """Fails in its backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        raise ValueError("boom")


def meddling(model: Any, x: Tensor) -> Tensor:
    model.eval()
    model.a.weight.requires_grad_(False)
    model.a.register_forward_hook(lambda *_: None)
    model.a.weight.grad = torch.ones(64, 64)
    model.kept = model.a(x)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1)
    raise ValueError("boom")


def interrupted(model: Any, x: Tensor) -> Tensor:
    raise KeyboardInterrupt


@pytest.mark.parametrize("function", [lambda model, x: Boom.apply(model.a(x)), meddling, interrupted])
def test_nothing_is_left_behind_after_a_failure(function: Callable[..., Any]) -> None:
    model: Any = linear(function)
    before = [(name, id(p), p.grad, p.requires_grad, p._version) for name, p in model.named_parameters()]
    state = torch.get_rng_state()
    with pytest.raises((TraceError, KeyboardInterrupt)):
        flopscope.training(model, ROWS, checkpoint="b")
    assert before == [(name, id(p), p.grad, p.requires_grad, p._version) for name, p in model.named_parameters()]
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_default_dtype() == torch.float32
    assert model.training
    assert not hasattr(model, "kept")
    assert not model.a._forward_hooks
    assert "forward" not in vars(model.b)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"optimizer": 3}, "name such as 'adamw'"),
        ({"accumulate": 2.5}, "1 or more"),
        ({"shards": 2.5}, "a whole number"),
        ({"checkpoint": [3]}, "paths of modules"),
        ({"loss": "mse"}, "function from the model's output"),
        ({"loss": lambda output: output.nope}, "in the loss"),
        ({"loss": lambda output: torch.ones(1, requires_grad=True).sum()}, "does not depend"),
    ],
)
def test_bad_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(FlopscopeError, match=says):
        flopscope.training(nn.Linear(64, 4), ROWS, **options)


def test_where_a_step_fails() -> None:
    with pytest.raises(TraceError, match="in its backward pass"):
        flopscope.training(linear(lambda model, x: Boom.apply(model.a(x))), ROWS)
    with pytest.raises(TraceError, match=r"torch\.func\.grad"):
        flopscope.training(linear(lambda model, x: torch.func.grad(lambda y: model.a(y).sum())(x)), ROWS)


def test_anomaly_mode_and_no_grad_around() -> None:
    model = nn.Linear(64, 4)
    expected = flopscope.training(model, ROWS).to_dict()
    with torch.autograd.set_detect_anomaly(True), torch.no_grad():
        assert flopscope.training(model, ROWS).to_dict() == expected
        assert torch.is_anomaly_enabled()


def test_a_path_alone_is_a_checkpoint() -> None:
    model = blocks(64, 3)
    assert flopscope.training(model, ROWS, checkpoint="auto").step.checkpoint == ("0", "1", "2")
    with pytest.raises(OptionError, match="nope"):
        flopscope.training(model, ROWS, checkpoint="nope")
    with pytest.raises(InputError, match="nothing to train"):
        flopscope.training(model.requires_grad_(False), ROWS)
