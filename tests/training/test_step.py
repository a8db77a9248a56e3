"""Training steps on shapes against steps that really run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import flopscope
from flopscope.errors import InputError, NeedsDataError, OptionError
from tests.memory.measuring import growth
from tests.training.real_steps import measured

MOST_OVER, MOST_UNDER = 1.02, 0.995
"""How far the predicted peak may be from the measured one."""


def squared(output: Any) -> Tensor:
    return output.square().mean()


def assert_equal(model: nn.Module, *args: Any, loss: Callable[[Any], Tensor] = squared, peak: bool = True, **options: Any) -> Any:
    """The step of a model on shapes is the one that really runs."""
    given = {name: options.pop(name) for name in list(options) if name not in ("amp", "accumulate", "checkpoint")}
    found = flopscope.training(model, *args, loss=loss, **options, **given)
    amp = {None: None, "bf16": torch.bfloat16}[options.get("amp")]
    real = measured(model, args, given, loss, amp=amp, passes=options.get("accumulate", 1))
    assert found.memory.saved_bytes == real.saved_bytes
    assert found.report.under("torch") == real.flops
    assert found.memory.gradient_bytes == real.gradient_bytes
    if peak:
        predicted = found.memory_on_cpu.activation_peak_bytes
        assert MOST_UNDER * real.peak_bytes <= predicted <= MOST_OVER * real.peak_bytes
    return found


class Block(nn.Module):
    """A bit of everything: grouped and depthwise convolutions, norms, activations that work in place, a residual, dropout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1, groups=2),
            nn.GroupNorm(4, channels),
            nn.SiLU(),
            nn.Dropout(0.1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.hardswish(x + self.body(x))


class Transformer(nn.Module):
    """Embeddings, attention and a head that shares its weight with them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 64)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, dropout=0.1) for _ in range(3))
        self.head = nn.Linear(64, 100, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def words(output: Tensor) -> Tensor:
    return functional.cross_entropy(output.flatten(0, 1), torch.zeros(output.shape[0] * output.shape[1], dtype=torch.int64))


def classes(output: Tensor) -> Tensor:
    return functional.cross_entropy(output, torch.zeros(output.shape[0], dtype=torch.int64))


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), Block(16), Block(16), nn.Conv2d(16, 32, 3), nn.Flatten(), nn.LazyLinear(5))


def made(model: nn.Module, *args: Any) -> nn.Module:
    """The model with its lazy weights made."""
    model(*args)
    return model


IMAGES = torch.randn(4, 3, 33, 33)
IDS = torch.randint(0, 100, (4, 24))


def test_convolutions_norms_and_residuals(network: nn.Module) -> None:
    assert_equal(made(network, IMAGES), IMAGES)


def test_transformer_with_shared_weight() -> None:
    assert_equal(Transformer(), IDS, loss=words)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x0_5"])
def test_torchvision(name: str) -> None:
    model = torchvision.models.get_model(name, weights=None)
    assert_equal(model, torch.randn(2, 3, 96, 96), loss=classes)


def test_evaluation_mode_and_frozen_norms(network: nn.Module) -> None:
    model = made(network, IMAGES)
    model.eval()
    assert_equal(model, IMAGES)


def test_frozen_first_layers_have_no_backward_pass(network: nn.Module) -> None:
    model = made(network, IMAGES)
    whole = flopscope.training(model, IMAGES)
    model[:3].requires_grad_(False)
    found = assert_equal(model, IMAGES)
    assert 0 < found.backward.macs < whole.backward.macs
    assert all(row.costs["backward"].macs == 0 for row in found.by_module() if row.path.split(".")[0] in ("0", "1", "2"))


def test_frozen_last_layers_pass_gradients_on(network: nn.Module) -> None:
    model = made(network, IMAGES)
    model[3:].requires_grad_(False)
    assert_equal(model, IMAGES)


class LowRank(nn.Module):
    """A frozen linear layer and a trained one of low rank beside it."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(base.in_features, rank, bias=False), nn.Linear(rank, base.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


def test_low_rank_adapters() -> None:
    model = nn.Sequential(*(nn.Sequential(LowRank(nn.Linear(48, 48), 4), nn.GELU()) for _ in range(4)))
    found = assert_equal(model, torch.randn(16, 48))
    assert found.memory.gradient_bytes == 4 * 4 * 2 * 48 * 4


class Detached(nn.Module):
    """One branch under no_grad, one that is detached, one that is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(20, 20) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            first = self.a(x).relu()
        return self.c(first + self.b(x).detach())


def test_no_grad_and_detached_branches() -> None:
    found = assert_equal(Detached(), torch.randn(8, 20))
    assert sorted(found.step.gradients) == ["c.bias", "c.weight"]
    assert found.backward.macs == 8 * 20 * 20  # the weight of c; its input wants no gradient


class Checkpointed(nn.Module):
    """A model that checkpoints its layers itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32)) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False, preserve_rng_state=False)
        return x


def test_checkpoints_of_the_model_itself() -> None:
    found = assert_equal(Checkpointed(), torch.randn(16, 32))
    # All but the last linear layer of each is needed again, but torch runs a segment until all that was saved is there.
    assert 0 < found.recomputed.macs <= 4 * 16 * 2 * 32 * 64


def test_checkpoint_option_is_what_the_model_would_do() -> None:
    plain = nn.Sequential(*(nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32)) for _ in range(4)))
    own = Checkpointed()
    x = torch.randn(16, 32)
    one = flopscope.training(plain, x, loss=squared, checkpoint=("auto",))
    other = flopscope.training(own, x, loss=squared)
    assert one.recomputed == other.recomputed
    assert one.memory.saved_bytes == other.memory.saved_bytes
    assert one.step.checkpoint == ("0", "1", "2", "3")
    kept = flopscope.training(plain, x, loss=squared)
    assert one.memory.saved_bytes < kept.memory.saved_bytes
    assert kept.recomputed.flops == 0
    assert "forward" not in vars(plain[0])


def test_mixed_precision(network: nn.Module) -> None:
    assert_equal(made(network, IMAGES), IMAGES, amp="bf16", peak=False)
    assert_equal(Transformer(), IDS, loss=words, amp="bf16")


def test_accumulation() -> None:
    found = assert_equal(Transformer(), IDS, loss=words, accumulate=3)
    once = flopscope.training(Transformer(), IDS, loss=words)
    assert found.forward.macs == 3 * once.forward.macs
    assert found.memory.saved_bytes == once.memory.saved_bytes


@pytest.mark.parametrize(("inputs", "units", "layers", "both"), [(24, 16, 2, True), (20, 64, 1, False), (16, 16, 1, False)])
def test_recurrent_layers_and_their_workspaces(inputs: int, units: int, layers: int, both: bool) -> None:
    model = nn.LSTM(inputs, units, layers, bidirectional=both)
    assert_equal(model, torch.randn(7, 5, inputs), loss=lambda output: output[0].sum())


class Reused(nn.Module):
    """A value that is used several times, so that its gradients are added up."""

    def __init__(self, use: Callable[[Tensor, nn.Linear], Tensor]) -> None:
        super().__init__()
        self.layer, self.use = nn.Linear(256, 256), use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self.layer(x), self.layer)


@pytest.mark.parametrize(
    "use",
    [
        lambda h, _: h.sin() + h.cos() + h.tanh() + h.exp() + h.square() + h.sigmoid(),
        lambda h, _: h + h + h.sin(),
        lambda h, _: h.t() + (h.t().sin() + h.t().cos()),
        lambda h, layer: layer(h).relu() + layer(h * 2) + layer(h * 3),
        lambda h, _: h.view(-1, 128).sin().view(256, 256) + h.view(-1, 64).cos().view(256, 256),
    ],
)
def test_gradients_of_what_is_used_several_times(use: Callable[[Tensor, nn.Linear], Tensor]) -> None:
    assert_equal(Reused(use), torch.randn(256, 256))


class Scaled(torch.autograd.Function):
    """A function with a backward pass of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return gradient * x.cos() * 2


def test_functions_with_their_own_backward_pass() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 16)

        def forward(self, x: Tensor) -> Tensor:
            return Scaled.apply(self.layer(x))

    found = assert_equal(Model(), torch.randn(8, 16))
    assert {row.kind for row in found.report.ops} >= {"sin", "cos"}


def test_backward_ops_have_the_scope_of_their_layer() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Sequential(nn.ReLU(), nn.Linear(16, 4)))
    found = flopscope.training(model, "3x8", loss=squared)
    rows = {row.path: row.costs["backward"].macs for row in found.by_module()}
    assert rows["0"] == 3 * 8 * 16  # the weight
    assert rows["1.1"] == 2 * 3 * 16 * 4  # the weight and the input
    assert rows[""] == rows["0"] + rows["1"]


def test_nothing_is_left_behind() -> None:
    model = torchvision.models.resnet18()
    before = {name: (id(p), p.grad, p._version) for name, p in model.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    state = torch.get_rng_state()
    one = flopscope.training(model, "2x3x64x64")
    two = flopscope.training(model, "2x3x64x64", checkpoint=("layer*.*",), amp="bf16")
    assert before == {name: (id(p), p.grad, p._version) for name, p in model.named_parameters()}
    assert all(torch.equal(buffers[name], buffer) for name, buffer in model.named_buffers())
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.is_autocast_enabled("cpu")
    assert flopscope.training(model, "2x3x64x64").to_dict() == one.to_dict()
    assert two.recomputed.macs > 0


def test_models_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = torchvision.models.resnet18()
    real = torchvision.models.resnet18()
    assert flopscope.training(model, "2x3x64x64").to_dict() == flopscope.training(real, "2x3x64x64").to_dict()


def test_the_parts_of_the_peak_add_up() -> None:
    found = flopscope.training(torchvision.models.resnet18(), "2x3x64x64")
    assert sum(found.memory.at_peak().values()) == found.memory.peak_bytes
    small = flopscope.training(nn.Linear(400, 400), "1x400")
    assert small.memory.peak_phase == "optimizer"
    assert sum(small.memory.at_peak().values()) == small.memory.peak_bytes


@pytest.mark.parametrize(("name", "make"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD), ("adafactor", torch.optim.Adafactor)])
@pytest.mark.parametrize("batch", [1, 512])
def test_a_whole_step_with_its_optimizer(name: str, make: Any, batch: int) -> None:
    """With one row the peak is in the optimizer (or where gradients end), with many in the passes."""
    model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 128))
    x, optimizer = torch.randn(batch, 256), make(model.parameters(), lr=1e-3)

    def step() -> Any:
        output = model(x)
        loss = squared(output)
        loss.backward()
        optimizer.step()
        return output, loss

    step()
    optimizer.zero_grad()
    real = growth(step, warm=False)
    optimizer.zero_grad()
    found = flopscope.training(model, x, loss=squared, optimizer=name)
    memory = found.memory_on_cpu
    predicted = memory.peak_bytes - memory.held_bytes - memory.input_bytes
    assert 0.995 * real <= predicted <= 1.02 * real
    assert memory.peak_phase == ("optimizer" if batch == 1 and name != "sgd" else "backward")


def test_what_is_alive_after_the_last_op() -> None:
    step = flopscope.training(nn.Linear(64, 32, bias=False), "16x64", loss=squared).memory
    output, loss, gradient, inputs = 16 * 32 * 4, 4, 64 * 32 * 4, 16 * 64 * 4
    assert step.timeline.after_bytes == output + loss + gradient + inputs


def test_losses() -> None:
    named = flopscope.training(nn.Linear(4, 3), "2x4")
    assert named.step.loss == "cross-entropy of the output"
    several = flopscope.training(nn.LSTM(4, 3), "5x2x4")
    assert several.step.loss == "the sum of all outputs"
    with pytest.raises(InputError, match="one element"):
        flopscope.training(nn.Linear(4, 3), "2x4", loss=lambda output: output)


def test_what_cannot_be_trained() -> None:
    with pytest.raises(InputError, match="nothing to train"):
        flopscope.training(nn.ReLU(), "2x4")
    with pytest.raises(InputError, match="does not depend"):
        flopscope.training(nn.Linear(4, 3), "2x4", loss=lambda output: output.detach().sum())
    with pytest.raises(OptionError, match="adamw"):
        flopscope.training(nn.Linear(4, 3), "2x4", optimizer="adamv")
    with pytest.raises(InputError, match="bf16"):
        flopscope.training(nn.Linear(4, 3), "2x4", amp="int8")
    with pytest.raises(OptionError, match="nowhere"):
        flopscope.training(nn.Linear(4, 3), "2x4", checkpoint=("nowhere",))
    with pytest.raises(OptionError, match="accumulate"):
        flopscope.training(nn.Linear(4, 3), "2x4", accumulate=0)

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) if x.sum().item() > 0 else x

    with pytest.raises(NeedsDataError, match="reads the values"):
        flopscope.training(Reads(), "2x4")
