"""Binary paths against plain re-implementations, exact expectations, and counted memory."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import RecipeError
from nas.objectives.additive import Additive
from nas.objectives.power import Power
from nas.objectives.unconstrained import Unconstrained
from nas.relaxations.gates import Mixture, OnePath, WatchedPath
from nas.search.binary import BinaryPaths, one_hot, score, still, through_softmax, two_of
from nas.spaces.choice import Choice
from tests.nas.tiny_paths import KINDS, PRICES, TinyNet, cost


def batch(count: int = 8) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 3, 6, 6), torch.randint(4, (count,))


def search(net: TinyNet, objective: Any = None, **settings: Any) -> BinaryPaths:
    return BinaryPaths(
        net,
        objective or Unconstrained(),
        cost,
        torch.optim.SGD(net.network_weights(), 0.1, 0.9),
        torch.optim.Adam(net.architecture_parameters(), 0.1, settings.pop("betas", (0.0, 0.999))),
        **settings,
    )


def mixed_gates(net: TinyNet, gates: dict[str, list[Tensor]], images: Tensor) -> Tensor:
    """The logits with every candidate run and multiplied by its gate: the definition (eq. 3), written out."""
    x = net.stem(images)
    slots: list[Any] = list(net.slots)
    for (kind, row), slot in zip([("first", 0), ("rest", 0), ("rest", 1)], slots, strict=True):
        x = sum(gate * candidate(x) for gate, candidate in zip(gates[kind][row], slot.candidates, strict=True))
    logits: Tensor = net.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
    return logits


def paths_of(net: TinyNet) -> list[dict[str, Tensor]]:
    """Every path."""
    sizes = [count for rows, count in KINDS.values() for _ in range(rows)]
    return [{"first": torch.tensor(found[:1]), "rest": torch.tensor(found[1:])} for found in itertools.product(*map(range, sizes))]


@pytest.mark.parametrize("watched", ["two", "all"])
def test_the_gradient_by_gates_is_that_of_all_candidates_run_at_once(watched: str) -> None:
    torch.manual_seed(0)
    net = TinyNet().double()
    images, labels = batch()
    images = images.double()
    binary = search(net)
    alphas = {kind: alpha.detach() for kind, alpha in net.architecture().items()}
    pairs = {kind: two_of(alpha) for kind, alpha in alphas.items()} if watched == "two" else None
    torch.manual_seed(5)
    loss, logits, gradients = binary.path_gradient((images, labels), pairs)

    torch.manual_seed(5)  # the same path
    seen = pairs or {kind: torch.arange(alpha.shape[1]).expand_as(alpha) for kind, alpha in alphas.items()}
    path = {
        kind: seen[kind].gather(1, torch.multinomial(alpha.gather(1, seen[kind]).softmax(1), 1)).squeeze(1)
        for kind, alpha in alphas.items()
    }
    gates = {kind: [row.clone().requires_grad_() for row in rows] for kind, rows in one_hot(alphas, path).items()}
    plain = mixed_gates(net, gates, images)
    plain_loss = F.cross_entropy(plain, labels)
    assert torch.allclose(loss, plain_loss.detach(), atol=1e-12)
    assert torch.allclose(logits, plain.detach(), atol=1e-12)
    flat = [gate for rows in gates.values() for gate in rows]
    by_gate = iter(torch.autograd.grad(plain_loss, flat))
    for kind, alpha in alphas.items():
        for row in range(len(alpha)):
            slope, chosen = next(by_gate), seen[kind][row].tolist()
            q = [math.exp(alpha[row, i]) / sum(math.exp(alpha[row, j]) for j in chosen) for i in chosen]
            wanted = torch.zeros_like(alpha[row])
            for a, i in enumerate(chosen):
                wanted[i] = sum(slope[j] * q[b] * ((i == j) - q[a]) for b, j in enumerate(chosen))
            assert torch.allclose(gradients[kind][row], wanted, atol=1e-10)
    assert max(gradient.abs().max() for gradient in gradients.values()) > 1e-4


def test_gates_open_as_often_as_their_probabilities_say() -> None:
    torch.manual_seed(0)
    net = TinyNet()
    binary, count = search(net), 4000
    drawn = [binary.sampled() for _ in range(count)]
    for kind, alpha in net.architecture().items():
        for row in range(len(alpha)):
            seen = torch.bincount(torch.stack([paths[kind][row] for paths in drawn]), minlength=alpha.shape[1])
            assert stats.chisquare(seen.numpy(), (alpha.detach().double().softmax(1)[row] * count).numpy()).pvalue > 0.001


def test_pairs_are_drawn_without_replacement_by_their_probabilities() -> None:
    torch.manual_seed(0)
    alpha = torch.tensor([[0.0, 1.0, 2.0]])
    p = alpha.double().softmax(1)[0].tolist()
    count = 4000
    seen = [tuple(two_of(alpha)[0].tolist()) for _ in range(count)]
    wanted = {(i, j): p[i] * p[j] / (1 - p[i]) for i, j in itertools.permutations(range(3), 2)}
    found = [seen.count(pair) for pair in wanted]
    assert stats.chisquare(found, [count * chance for chance in wanted.values()]).pvalue > 0.001
    assert sorted(two_of(torch.tensor([[200.0, 0.0]]))[0].tolist()) == [0, 1]  # one is next to certain


@pytest.mark.parametrize("betas", [(0.0, 0.999), (0.9, 0.999)], ids=["no momentum", "momentum"])
def test_two_paths_leave_the_probabilities_of_the_others_alone(betas: tuple[float, float]) -> None:
    torch.manual_seed(1)
    net = TinyNet().double()
    binary = search(net, betas=betas)
    moved = 0
    for _ in range(20):
        before = {kind: weights.detach().clone() for kind, weights in net.weights().items()}
        images, labels = batch()
        binary.architecture_step((images.double(), labels))
        for kind, weights in net.weights().items():
            changed = (weights - before[kind]).abs() > 1e-7
            assert int(changed.sum(1).max()) <= 2
            moved += int(changed.sum())
    assert moved > 20


def test_a_cost_moves_every_candidate_and_its_gradient_is_exact() -> None:
    torch.manual_seed(2)
    net = TinyNet().double()
    binary = search(net, Additive(0.5))
    found = binary._cost_gradient(torch.tensor(1.0, dtype=torch.float64))
    step = 1e-6
    for kind, alpha in net.architecture().items():
        for place in itertools.product(*map(range, alpha.shape)):
            with torch.no_grad():
                sides = []
                for sign in (1, -1):
                    alpha[place] += sign * step
                    sides.append(0.5 * float(cost(net.weights())))
                    alpha[place] -= sign * step
            assert found[kind][place].item() == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-7)
    before = {kind: alpha.detach().clone() for kind, alpha in net.architecture().items()}
    images, labels = batch()
    binary.architecture_step((images.double(), labels))
    assert all(bool((alpha != before[kind]).all()) for kind, alpha in net.architecture().items())


def test_an_expected_cost_at_a_vertex_is_the_sum_of_the_path() -> None:
    net = TinyNet()
    for paths in paths_of(net):
        wanted = 10 + sum(float(prices[row, index]) for kind, prices in PRICES.items() for row, index in enumerate(paths[kind].tolist()))
        assert float(cost(one_hot(net.weights(), paths))) == wanted


def test_reinforce_estimates_the_gradient_of_the_expected_reward() -> None:
    """Every path is visited once, weighted by its probability: the sum is the exact gradient."""
    torch.manual_seed(3)
    net = TinyNet().double()
    alphas = {kind: alpha.detach().clone().requires_grad_() for kind, alpha in net.architecture().items()}

    def reward(paths: dict[str, Tensor]) -> float:
        return math.sin(sum((3 if kind == "first" else 1 + row) * int(i) for kind in paths for row, i in enumerate(paths[kind])))

    expected: Any = 0.0
    estimate = {kind: torch.zeros_like(alpha) for kind, alpha in alphas.items()}
    for paths in paths_of(net):
        chance: Any = 1.0
        for kind, alpha in alphas.items():
            chance = chance * alpha.softmax(1).gather(1, paths[kind][:, None]).prod()
        expected = expected + chance * reward(paths)
        for kind, alpha in alphas.items():  # any baseline gives the same sum
            estimate[kind] += float(chance.detach()) * (reward(paths) - 0.37) * score(alpha.detach(), paths[kind])
    exact = torch.autograd.grad(expected, list(alphas.values()))
    for kind, gradient in zip(alphas, exact, strict=True):
        assert torch.allclose(estimate[kind], gradient, atol=1e-12)


def test_reinforce_finds_what_the_reward_likes_though_it_has_no_derivative() -> None:
    torch.manual_seed(4)
    net = TinyNet(width=2)
    cheapest = {"first": [3], "rest": [2, 2]}
    binary = search(net, variant="reinforce", reward=lambda _, price: -price, samples=4)
    for _ in range(150):
        binary.architecture_step(batch(2))
    assert {kind: alpha.argmax(1).tolist() for kind, alpha in net.architecture().items()} == cheapest
    assert binary.baseline is not None
    assert binary.baseline < 0


def test_the_baseline_is_a_moving_mean_and_the_first_reward_moves_nothing() -> None:
    torch.manual_seed(5)
    net = TinyNet(width=2)
    seen: list[float] = []

    def reward(accuracy: float, price: float) -> float:
        seen.append(Power(20.0, -0.07).reward(accuracy, price))
        return seen[-1]

    binary = search(net, variant="reinforce", reward=reward, decay=0.75)
    gradients = binary.reinforce_gradient(batch())[2]
    assert all(float(gradient.abs().max()) == 0 for gradient in gradients.values())
    binary.reinforce_gradient(batch())
    assert binary.baseline == pytest.approx(0.75 * seen[0] + 0.25 * seen[1])


def test_a_weight_step_moves_one_path_alone_as_plain_training_would() -> None:
    torch.manual_seed(6)
    net = TinyNet()
    binary = search(net)
    twin = copy.deepcopy(net)
    data = batch()
    torch.manual_seed(7)
    paths = binary.sampled()
    torch.manual_seed(7)
    binary.weight_step(data)
    chosen = [int(paths["first"][0]), *paths["rest"].tolist()]
    slots: list[Any] = list(twin.slots)
    for slot, index in zip(slots, chosen, strict=True):
        slot.gate = OnePath(index)
    plain = torch.optim.SGD(twin.network_weights(), 0.1, 0.9)
    F.cross_entropy(twin(data[0]), data[1]).backward()
    nn.utils.clip_grad_norm_(twin.network_weights(), 5.0)
    plain.step()
    for (name, mine), other in zip(net.state_dict().items(), twin.state_dict().values(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6), name


def test_architecture_steps_leave_weights_and_statistics_alone() -> None:
    net = TinyNet()
    for variant in ("gradient", "recompute", "reinforce", "both"):
        before = {name: value.clone() for name, value in net.state_dict().items() if not name.startswith("alphas")}
        search(net, variant=variant).architecture_step(batch())
        for name, value in before.items():
            assert torch.equal(value, net.state_dict()[name]), (variant, name)
        assert all(parameter.requires_grad for parameter in net.parameters())
        assert all(slot.gate is None for slot in net.slots)
    layer = next(layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d))
    with pytest.raises(RuntimeError), still(net):
        raise RuntimeError
    assert layer.track_running_stats
    assert layer.running_mean is not None


def _kept_bytes(run: Callable[[], Any]) -> int:
    """The bytes of all tensors that autograd keeps at once for a backward pass, each storage once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        held = run()
        total = sum(kept.values())
    del held
    return total


def wide_choice(count: int, weights: Callable[[], Tensor], row: int) -> Choice:
    def candidate() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 3, padding=1), nn.BatchNorm2d(8)
        )

    return Choice([candidate() for _ in range(count)], weights, row)


class Wide(nn.Module):
    """Four choices in a row between many candidates of the same size."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(4, count))
        self.slots = nn.Sequential(*(wide_choice(count, lambda: self.alpha.softmax(1), row) for row in range(4)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.slots(x)
        return out


def _gates(net: Wide, gate: Callable[[int], Any]) -> None:
    for row, slot in enumerate(net.slots):
        slot.gate = gate(row)


@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_a_step_holds_one_path_whatever_the_number_of_candidates(count: int) -> None:
    torch.manual_seed(0)
    net, x = Wide(count), torch.randn(4, 8, 16, 16)
    slots: list[Any] = list(net.slots)
    derived = nn.Sequential(*(slot.candidates[0] for slot in slots))
    alone = _kept_bytes(lambda: derived(x))

    _gates(net, lambda _: OnePath(0))
    assert _kept_bytes(lambda: net(x)) <= 1.15 * alone

    def watched(seen: Sequence[int]) -> Callable[[int], WatchedPath]:
        return lambda _: WatchedPath(0, tuple(seen), torch.zeros(count, requires_grad=True))

    for seen in ((0, 1), tuple(range(count))):
        _gates(net, watched(seen))
        for weight in net.slots.parameters():
            weight.requires_grad_(False)
        assert _kept_bytes(lambda: net(x)) <= 1.15 * alone
        for weight in net.slots.parameters():
            weight.requires_grad_(True)

    _gates(net, lambda row: Mixture(net.alpha.softmax(1)[row]))
    assert _kept_bytes(lambda: net(x)) >= 0.9 * count * alone


def test_settings_that_make_no_sense_are_refused() -> None:
    net = TinyNet()
    for settings, message in (
        ({"variant": "best"}, "'best' was asked for"),
        ({"samples": 0}, "samples above zero"),
        ({"decay": 1.0}, "decay"),
    ):
        with pytest.raises(RecipeError, match=message):
            search(net, **settings)


def test_through_softmax_of_equal_gates_is_nothing() -> None:
    alpha = torch.randn(2, 4)
    assert torch.allclose(through_softmax(alpha, torch.ones(2, 4), torch.arange(4).expand(2, 4)), torch.zeros(2, 4), atol=1e-7)
