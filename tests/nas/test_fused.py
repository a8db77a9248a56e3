"""A fused cell computes what the plain one does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from nas.spaces.darts import fused
from nas.spaces.darts.network import NetworkShape
from nas.spaces.darts.operations import DARTS_OPERATIONS, OPERATIONS
from nas.spaces.darts.supernet import CellSuperNet

SPACES = {"darts": DARTS_OPERATIONS, "all": OPERATIONS, "convolutions": ("sep_conv_3x3", "dil_conv_5x5"), "skip": ("skip_connect", "none")}


def _pair(
    operations: tuple[str, ...], layout: torch.memory_format = torch.contiguous_format, size: int = 12
) -> tuple[CellSuperNet, CellSuperNet, Tensor]:
    torch.manual_seed(0)
    net = CellSuperNet(operations, 3, NetworkShape(4, 3), 5, 3).double()
    for alpha in net.architecture_parameters():
        torch.nn.init.normal_(alpha)
    plain = copy.deepcopy(net)
    plain.plain = True
    return net.to(memory_format=layout), plain, torch.randn(4, 3, size, size, dtype=torch.float64)  # type: ignore[call-overload, return-value]


@pytest.mark.parametrize("size", [10, 12], ids=["some sizes odd", "sizes even"])
@pytest.mark.parametrize("small", [0, 2**40], ids=["each edge alone", "edges together"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["channels first", "channels last"])
@pytest.mark.parametrize("operations", SPACES.values(), ids=SPACES)
def test_outputs_gradients_and_statistics_are_equal(
    operations: tuple[str, ...], layout: torch.memory_format, small: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "SMALL", small)
    net, plain, x = _pair(operations, layout, size)
    one, other = net(x), plain(x)
    assert torch.allclose(one, other, rtol=0, atol=1e-12)
    gradients = [
        torch.autograd.grad(out.square().sum(), list(model.parameters()), allow_unused=True) for model, out in ((net, one), (plain, other))
    ]
    for mine, theirs in zip(*gradients, strict=True):
        assert (mine is None) == (theirs is None)
        assert mine is None or torch.allclose(mine, theirs, rtol=1e-10, atol=1e-11)
    for (name, mine), theirs in zip(net.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-12), name
    assert torch.allclose(net.eval()(x), plain.eval()(x), rtol=0, atol=1e-12)


def test_a_copy_follows_its_own_architecture_parameters() -> None:
    net, _, x = _pair(DARTS_OPERATIONS)
    twin = copy.deepcopy(net)
    twin.plain = True
    before = net(x)
    with torch.no_grad():
        for alpha in twin.architecture_parameters():
            alpha.add_(torch.randn_like(alpha))
    assert torch.equal(net(x), before)
    assert not torch.allclose(twin(x), before)


def test_mixed_precision_gives_what_the_plain_cell_gives_within_its_precision() -> None:
    net, plain, x = _pair(DARTS_OPERATIONS)
    net, plain, x = net.float(), plain.float(), x.float()
    with torch.autocast("cpu", torch.bfloat16):
        out, expected = net(x), plain(x)
    assert out.dtype == expected.dtype == torch.bfloat16
    assert torch.allclose(out.float(), expected.float(), rtol=0.1, atol=0.1)
    gradients = torch.autograd.grad(out.float().sum(), net.architecture_parameters())
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (1, 1, 2, 2)])
def test_folding_is_undone_by_unfolding(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    folded = fused.fold(x)
    assert folded.shape == (4 * shape[0], shape[1], shape[2] // 2, shape[3] // 2)
    assert torch.equal(folded[1], x[0, :, ::2, 1::2])
    assert torch.equal(fused.unfold(folded), x)
