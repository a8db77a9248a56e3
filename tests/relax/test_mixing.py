"""Whatever the forward of a choice does, what it mixes is not counted, and everything else is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flopscope.cost import METRICS
from flopscope.relax import Choice, cost_model
from tests.relax.modules import POSITIONS, Custom, X, conv, no_path, total, weighted_sum


def einsum(choice: Any, x: Tensor) -> Tensor:
    return torch.einsum("k,knchw->nchw", choice.probabilities(), torch.stack([candidate(x) for candidate in choice.candidates]))


def matmul(choice: Any, x: Tensor) -> Tensor:
    stacked = torch.stack([candidate(x).flatten() for candidate in choice.candidates], dim=1)
    return (stacked @ choice.probabilities()).view_as(x)


def in_place(choice: Any, x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for weight, candidate in zip(choice.probabilities(), choice.candidates, strict=True):
        out.add_(candidate(x) * weight)
    return out


def one_path(choice: Any, x: Tensor) -> Tensor:
    return choice.candidates[int(torch.multinomial(choice.probabilities(), 1))](x)


def likeliest_path(choice: Any, x: Tensor) -> Tensor:
    return choice.candidates[choice.probabilities().argmax().item()](x)


def gumbel(choice: Any, x: Tensor) -> Tensor:
    gates = F.gumbel_softmax(choice.alpha, tau=0.5, hard=True)
    return sum(gate * candidate(x) for gate, candidate in zip(gates, choice.candidates, strict=True))


def gumbel_by_hand(choice: Any, x: Tensor) -> Tensor:
    noise = -torch.log(-torch.log(torch.rand(len(choice.candidates))))
    index = int((choice.probabilities().log() + noise).argmax())
    return choice.candidates[index](x)


def sampled_by_python(choice: Any, x: Tensor) -> Tensor:
    import random

    return choice.candidates[random.randrange(len(choice.candidates))](x)


FORWARDS = [weighted_sum, einsum, matmul, in_place, one_path, likeliest_path, gumbel, gumbel_by_hand, no_path, sampled_by_python]


def mixed_by_a_helper(choice: Any, x: Tensor) -> Tensor:
    return Mix()(choice.probabilities(), *(candidate(x) for candidate in choice.candidates))


def plain_floats(choice: Any, x: Tensor) -> Tensor:
    return sum(weight * candidate(x) for weight, candidate in zip(choice.probabilities().tolist(), choice.candidates, strict=True))


def drawn_as_a_number(choice: Any, x: Tensor) -> Tensor:
    return choice.candidates[torch.randint(len(choice.candidates), (1,)).item()](x)


def two_draws(choice: Any, x: Tensor) -> Tensor:
    first, second = torch.multinomial(choice.probabilities(), 2, replacement=True).tolist()
    return (choice.candidates[first](x) + choice.candidates[second](x)) * choice.probabilities()[first]


def one_of_a_stack(choice: Any, x: Tensor) -> Tensor:
    return torch.stack([candidate(x) for candidate in choice.candidates])[int(choice.probabilities().argmax())]


def stack_taken_apart(choice: Any, x: Tensor) -> Tensor:
    return sum(weight * y for weight, y in zip(choice.probabilities(), torch.stack([c(x) for c in choice.candidates]), strict=True))


def buffer_of_outputs(choice: Any, x: Tensor) -> Tensor:
    out = torch.empty(len(choice.candidates), *x.shape)
    for index, candidate in enumerate(choice.candidates):
        out[index] = candidate(x)
    return choice.probabilities()[0] * out[0] + choice.probabilities()[1] * out[1]


def chosen_by_where(choice: Any, x: Tensor) -> Tensor:
    first, second = (candidate(x) for candidate in choice.candidates)
    return torch.where(choice.probabilities()[0] > 0.5, first, second)


def mean(choice: Any, x: Tensor) -> Tensor:
    return sum(candidate(x) for candidate in choice.candidates) / len(choice.candidates)


def gdas(choice: Any, x: Tensor) -> Tensor:
    p = choice.probabilities()
    taken = int(p.argmax())
    return sum(p[index] * candidate(x) if index == taken else p[index] for index, candidate in enumerate(choice.candidates))


def run_all_return_one(choice: Any, x: Tensor) -> Tensor:
    return [candidate(x) for candidate in choice.candidates][int(choice.probabilities().argmax())]


class Mix(nn.Module):
    def forward(self, weights: Tensor, *outputs: Tensor) -> Tensor:
        return (torch.stack(outputs) * weights.view(-1, 1, 1, 1, 1)).sum(0)


FORWARDS += [mixed_by_a_helper, plain_floats, drawn_as_a_number, one_of_a_stack, stack_taken_apart, buffer_of_outputs, chosen_by_where]
FORWARDS += [mean, gdas, run_all_return_one]


class Downstream(nn.Module):
    """What follows a choice: products without and with weights, sums, a residual."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.first, self.second = inner, nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        y = y + x
        y = y @ y.transpose(-1, -2)
        return self.second(self.first(y)) + y.mean((2, 3), keepdim=True)


@pytest.mark.parametrize("forward", FORWARDS, ids=lambda forward: forward.__name__)
def test_what_follows_a_choice_is_counted(forward: Any) -> None:
    choice = Custom(forward)
    net = Downstream(choice)
    model = cost_model(net, X)
    for index, candidate in enumerate(choice.candidates):
        net.inner = candidate
        expected = [total(net, metric) for metric in METRICS]
        net.inner = choice
        assert [int(model(metric, [index])) for metric in METRICS] == expected


@pytest.mark.parametrize("forward", FORWARDS, ids=lambda forward: forward.__name__)
def test_any_forward_costs_what_its_candidates_cost(forward: Any) -> None:
    choice = Custom(forward)
    model = cost_model(nn.Sequential(conv(), choice, conv()), X)
    for index, candidate in enumerate(choice.candidates):
        plain = nn.Sequential(conv(), candidate, conv())
        assert [int(model(metric, [index])) for metric in METRICS] == [total(plain, metric) for metric in METRICS]


class Surrounded(nn.Module):
    """A choice whose forward has layers of its own around its candidates."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = conv(1), nn.BatchNorm2d(4)
        self.candidates = nn.ModuleList([conv(3), conv(5)])
        self.alpha = nn.Parameter(torch.zeros(2))

    def probabilities(self) -> Tensor:
        return self.alpha.softmax(0)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.before(x))
        return self.after(sum(weight * candidate(x) for weight, candidate in zip(self.probabilities(), self.candidates, strict=True)))


def test_layers_around_the_candidates_are_counted_always() -> None:
    choice = Surrounded()
    model = cost_model(choice, X)
    for index, candidate in enumerate(choice.candidates):
        plain = nn.Sequential(choice.before, nn.ReLU(), candidate, choice.after)
        assert [int(model(metric, [index])) for metric in METRICS] == [total(plain, metric) for metric in METRICS]
    assert any("not counted, because only the search runs them" in note for note in model.notes)


def residual(choice: Any, x: Tensor) -> Tensor:
    return x + sum(weight * candidate(x) for weight, candidate in zip(choice.probabilities(), choice.candidates, strict=True))


def residual_of_a_path(choice: Any, x: Tensor) -> Tensor:
    return x + choice.candidates[choice.index](x)


class PlainResidual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


@pytest.mark.parametrize(("forward", "index"), [(residual, 0), (residual_of_a_path, 0), (residual_of_a_path, 1)])
def test_what_is_done_with_the_complete_sum_is_counted(forward: Any, index: int) -> None:
    choice = Custom(forward)
    choice.candidates[1] = nn.Identity()
    choice.index = index
    model = cost_model(choice, X)
    for position, candidate in enumerate(choice.candidates):
        assert [int(model(metric, [position])) for metric in METRICS] == [total(PlainResidual(candidate), metric) for metric in METRICS]


def test_work_that_one_candidate_alone_uses_is_its_own() -> None:
    def activate_each(choice: Any, x: Tensor) -> Tensor:
        return sum(weight * candidate(F.relu(x)) for weight, candidate in zip(choice.probabilities(), choice.candidates, strict=True))

    choice = Custom(activate_each)
    model = cost_model(choice, X)
    plain = nn.Sequential(nn.ReLU(), choice.candidates[1])
    assert [int(model(metric, [1])) for metric in METRICS] == [total(plain, metric) for metric in METRICS]


@pytest.mark.parametrize("layer", [lambda: conv(1), lambda: nn.BatchNorm2d(4).eval(), lambda: nn.ReLU(), lambda: nn.Linear(8, 8)])
def test_a_layer_applied_to_each_candidate_is_counted_once(layer: Any) -> None:
    def post_each(choice: Any, x: Tensor) -> Tensor:
        pairs = zip(choice.probabilities(), choice.candidates, strict=True)
        return sum(weight * choice.post(candidate(x)) for weight, candidate in pairs)

    choice = Custom(post_each)
    choice.post = layer()
    model = cost_model(choice, X)
    for index, candidate in enumerate(choice.candidates):
        plain = nn.Sequential(candidate, choice.post)
        assert [int(model(metric, [index])) for metric in METRICS] == [total(plain, metric) for metric in METRICS]


class Filled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_choices_of_choices_and_of_nothing() -> None:
    inner = Choice([conv(3), conv(5)])
    model = cost_model(Choice([inner, Filled(), conv(1)]), X)
    for architecture, plain in (([0, 0], conv(3)), ([0, 1], conv(5)), ([1, 0], Filled()), ([2, 1], conv(1))):
        assert [int(model(metric, architecture)) for metric in METRICS] == [total(plain, metric) for metric in METRICS]


def test_a_path_that_is_drawn_twice_is_one_path() -> None:
    torch.manual_seed(0)
    choice = Custom(two_draws)
    found = set()
    for _ in range(5):
        found.add(int(cost_model(choice, X)("macs", [1])))
        torch.rand(1)
    assert found == {POSITIONS * 16 * 9}


class Squeeze(nn.Module):
    """A gate made of data is work of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.gate = conv(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x)
        return x * self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]


def test_gates_made_of_data_are_counted() -> None:
    model = cost_model(Choice([Squeeze(), conv()]), X)
    assert [int(model(metric, [0])) for metric in METRICS] == [total(Squeeze(), metric) for metric in METRICS]
