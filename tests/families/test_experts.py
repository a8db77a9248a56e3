"""Mixtures of experts: active and total counts against published sizes and arithmetic, however the experts are written."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import flopscope

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

QWEN3_30B = {
    "num_hidden_layers": 48, "hidden_size": 2048, "moe_intermediate_size": 768, "intermediate_size": 6144, "num_attention_heads": 32,
    "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "vocab_size": 151936,
}  # fmt: skip
# Billions of parameters as their authors state them: active, total. (Llama 4 Scout's text model, without its images.)
PUBLISHED: dict[str, tuple[dict[str, Any], float, float]] = {
    "mixtral": ({}, 12.9, 46.7),  # Mixtral 8x7B, arXiv:2401.04088
    "deepseek_v3": ({}, 37.6, 671.0),  # 37B of 671B, arXiv:2412.19437; the decimal is the sum by hand below
    "qwen3_moe": (QWEN3_30B, 3.3, 30.5),  # Qwen3-30B-A3B, arXiv:2505.09388
    "phimoe": ({}, 6.6, 41.9),  # arXiv:2404.14219; two experts chosen one after the other
    "llama4_text": ({}, 17.2, 107.8),  # 17B, all experts run on all tokens
    "jamba": ({}, 12.1, 51.6),  # 12B of 52B, arXiv:2403.19887
    "qwen3_next": ({}, 3.9, 79.7),  # 80B-A3B, with the embeddings
    "qwen2_moe": ({}, 2.7, 14.3),  # Qwen1.5-MoE-A2.7B
}


def experts_of(report: flopscope.Report) -> Any:
    found = report.experts
    assert found is not None
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name: str) -> None:
    pytest.importorskip("transformers")
    settings, active, total = PUBLISHED[name]
    loaded = flopscope.load(f"hf:{name}", settings)
    report = flopscope.analyze(loaded.model, **loaded.kwargs)
    found = experts_of(report)
    # Qwen3-30B-A3B is published as 3.3 and sums up to 3.35.
    assert found.active_params / 1e9 == pytest.approx(active, abs=0.0551)
    assert round(found.total_params / 1e9, 1) == total
    assert found.total_params == report.total.params


def test_deepseek_by_hand() -> None:
    pytest.importorskip("transformers")
    loaded = flopscope.load("hf:deepseek_v3")
    found = experts_of(flopscope.analyze(loaded.model, **loaded.kwargs))
    expert = 3 * 7168 * 2048
    assert found.total_params - found.active_params == 58 * (256 - 8) * expert
    assert {(m.experts, m.chosen, m.tokens) for m in found.mixtures} == {(256, 8, 128)}
    assert len(found.mixtures) == 58
    assert found.total_macs - found.active_macs == 58 * (256 - 8) * 128 * expert


@pytest.mark.parametrize("implementation", ["grouped_mm", "batched_mm", "eager"])
def test_every_implementation_of_one_library_gives_the_same(implementation: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MixtralConfig(
        vocab_size=100, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        num_local_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.MixtralForCausalLM(config).eval()
    model.set_experts_implementation(implementation)
    report = flopscope.analyze(model, torch.zeros(1, 32, dtype=torch.int64) + torch.arange(32))
    found, expert = experts_of(report), 3 * 16 * 24
    assert found.total_params - found.active_params == 2 * 2 * expert
    assert found.active_macs == report.total.macs
    assert found.total_macs - found.active_macs == 2 * 32 * 2 * expert


class Experts(nn.Module):
    """Experts as users write them, in four ways."""

    def __init__(self, way: str, width: int = 16, hidden: int = 32, experts: int = 4, chosen: int = 2) -> None:
        super().__init__()
        self.way, self.chosen = way, chosen
        self.router = nn.Linear(width, experts, bias=False)
        if way in ("where", "mask"):
            layers = (nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width)) for _ in range(experts))
            self.experts = nn.ModuleList(layers)
        else:
            self.up = nn.Parameter(torch.randn(experts, width, hidden))
            self.down = nn.Parameter(torch.randn(experts, hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = torch.topk(self.router(x).softmax(-1), self.chosen, dim=-1)
        if self.way == "einsum":
            gates = torch.zeros(x.shape[0], self.up.shape[0]).scatter(1, chosen, weights)
            return torch.einsum("teh,ehd,te->td", torch.einsum("td,edh->teh", x, self.up).relu(), self.down, gates)
        if self.way == "gather":
            hidden = torch.einsum("td,tkdh->tkh", x, self.up[chosen]).relu()
            return (torch.einsum("tkh,tkhd->tkd", hidden, self.down[chosen]) * weights[..., None]).sum(1)
        out = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            if self.way == "where":
                token, position = torch.where(chosen == index)
                out.index_add_(0, token, expert(x[token]) * weights[token, position, None])
            else:
                mask = (chosen == index).any(-1)
                if mask.any():
                    out[mask] += expert(x[mask]) * (weights * (chosen == index))[mask].sum(-1, keepdim=True)
        return out


@pytest.mark.parametrize("way", ["where", "mask", "einsum", "gather"])
def test_experts_of_the_user(way: str) -> None:
    torch.manual_seed(0)
    report = flopscope.analyze(Experts(way).eval(), "64x16")
    found = experts_of(report)
    expert = 2 * 16 * 32 + (16 + 32 if way in ("where", "mask") else 0)
    assert found.total_params == 4 * 16 + 4 * expert
    assert found.active_params == 4 * 16 + 2 * expert
    weights = 2 * 16 * 32
    router = 64 * 4 * 16
    least = router + 64 * 2 * weights
    assert least <= found.active_macs <= least + 64 * 4 * 16  # beside what the gates multiply
    assert found.total_macs - found.active_macs == pytest.approx(64 * 2 * weights, rel=0.02)


def test_tokens_that_were_dropped_do_not_make_an_expert_smaller() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.SwitchTransformersConfig(
        vocab_size=100, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_decoder_layers=2, num_heads=2, num_experts=4, expert_capacity=3,
        num_sparse_encoder_layers=1, num_sparse_decoder_layers=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.SwitchTransformersForConditionalGeneration(config).eval()
    ids = torch.arange(32)[None]
    found = experts_of(flopscope.analyze(model, input_ids=ids, decoder_input_ids=ids))
    assert found.total_params - found.active_params == len(found.mixtures) * 3 * (2 * 16 * 24)


class Detector(nn.Module):
    """Chooses positions, not parameters: no experts."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.head = nn.Linear(16, 1), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x[self.score(x)[:, 0].topk(8).indices])


def test_other_choices_are_no_experts() -> None:
    assert flopscope.analyze(Detector(), "64x16").experts is None
    assert flopscope.analyze(nn.Linear(3, 4), "2x3").experts is None


def test_reports_say_both_and_why() -> None:
    report = flopscope.analyze(Experts("einsum").eval(), "64x16")
    found = experts_of(report)
    assert report.to_dict()["experts"]["active_params"] == found.active_params
    text = report.to_text()
    assert f"experts 2 of 4 in 1 layer: active params {found.active_params:,} of {found.total_params:,}, " in text
    assert "routed with the model's own top-k" in text
    assert "depends on data" in text
    assert flopscope.analyze(nn.Linear(3, 4), "2x3").to_dict()["experts"] is None
