"""Attention counted by the pairs that its mask allows, against loops over the pairs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn
from torch.nn import functional as F

import flopscope
from flopscope.cli.main import main
from flopscope.errors import OptionError

B, H, L, S, E, V = 2, 3, 5, 7, 4, 6
query, key, value = torch.rand(B, H, L, E), torch.rand(B, H, S, E), torch.rand(B, H, S, V)
WINDOW = 2


def pairs(allows: Callable[[int, int, int], bool]) -> int:
    """The pairs of all heads, one by one."""
    return H * sum(allows(batch, row, column) for batch in range(B) for row in range(L) for column in range(S))


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def window(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    distance = torch.arange(L)[:, None] - torch.arange(S)[None, :]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=(distance >= 0) & (distance < WINDOW))


def window_of_numbers(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    distance = torch.arange(L)[:, None] - torch.arange(S)[None, :]
    mask = torch.zeros(L, S).masked_fill((distance < 0) | (distance >= WINDOW), torch.finfo(torch.float32).min)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def padded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    lengths = torch.tensor([3, 6])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=(torch.arange(S) < lengths[:, None])[:, None, None, :])


def unmasked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


CASES = {
    causal: lambda _, row, column: column <= row,
    window: lambda _, row, column: 0 <= row - column < WINDOW,
    window_of_numbers: lambda _, row, column: 0 <= row - column < WINDOW,
    padded: lambda batch, _, column: column < (3, 6)[batch],
    unmasked: lambda *_: True,
}


@pytest.mark.parametrize("execute", ["never", "always"])
@pytest.mark.parametrize("case", CASES)
def test_only_allowed_pairs_are_counted(case: Callable[..., Tensor], execute: str) -> None:
    report = flopscope.analyze(case, query, key, value, execute=execute, attention="effective")  # type: ignore[arg-type]
    assert report.total.macs == pairs(CASES[case]) * (E + V)
    dense = flopscope.analyze(case, query, key, value, execute=execute)  # type: ignore[arg-type]
    assert dense.total.macs == B * H * L * S * (E + V)
    if case is unmasked:
        assert not any("masked attention" in note for note in (*report.notes, *dense.notes))
    else:
        assert any("counted effective" in note and f"{pairs(CASES[case]):,}" in note for note in report.notes)
        assert any("counted dense, as dense kernels" in note for note in dense.notes)


def test_more_queries_than_keys_are_causal_from_the_upper_left() -> None:
    report = flopscope.analyze(causal, torch.rand(1, 1, 7, E), torch.rand(1, 1, 5, E), torch.rand(1, 1, 5, V), attention="effective")
    assert report.total.macs == (1 + 2 + 3 + 4 + 5 + 5 + 5) * (E + V)


def test_a_mask_that_hangs_on_weights_stays_dense_and_says_so() -> None:
    class Biased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(L, S))

        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias * 2)

    report = flopscope.analyze(Biased(), query, key, value, attention="effective")
    assert report.total.macs == B * H * L * S * (E + V)
    assert any("not known" in note for note in report.notes)


@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("is_causal", [False, True])
def test_the_fused_layer_counts_its_masks(padding: bool, is_causal: bool) -> None:
    layer = nn.TransformerEncoderLayer(12, 4, 20, batch_first=True).eval().requires_grad_(False)
    lengths = (3, 5)
    hidden = torch.tensor([[position >= length for position in range(5)] for length in lengths]) if padding else None
    later = torch.ones(5, 5, dtype=torch.bool).triu(1) if is_causal else None

    def run(x: Tensor) -> Tensor:
        out: Tensor = layer(x, src_mask=later, src_key_padding_mask=hidden)
        return out

    report = flopscope.analyze(run, torch.rand(2, 5, 12), execute="always", attention="effective")
    assert [row.op for row in report.ops if row.cost.macs] == ["aten::_transformer_encoder_layer_fwd"]
    allowed = sum(
        (not is_causal or column <= row) and (not padding or column < length)
        for length in lengths
        for row in range(5)
        for column in range(5)
    )
    assert report.total.macs == 4 * 10 * 12 * 12 + 2 * 10 * 12 * 20 + 2 * allowed * 12


def test_the_mask_of_a_long_context_is_counted() -> None:
    length = 1500  # more pairs than a trace computes for real otherwise

    def model(x: Tensor) -> Tensor:
        position = torch.arange(length)
        mask = (position[:, None] >= position) & (position[:, None] - position < 100)
        return F.scaled_dot_product_attention(x, x, x, attn_mask=mask)

    report = flopscope.analyze(model, "1x2x1500x8", attention="effective", execute="never")
    assert report.total.macs == 2 * sum(min(row + 1, 100) for row in range(length)) * 2 * 8


def test_a_language_model_with_a_sliding_window() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 50}
    config = transformers.MistralConfig(**sizes, num_attention_heads=4, num_key_value_heads=2, sliding_window=6)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    dense, effective = (
        flopscope.analyze(model, attention=attention, input_ids=torch.zeros(1, 20, dtype=torch.int64))  # type: ignore[arg-type]
        for attention in ("dense", "effective")
    )
    seen = sum(min(row + 1, 6) for row in range(20))
    assert dense.total.macs - effective.total.macs == 2 * (20 * 20 - seen) * 2 * 16


def test_the_command_line_takes_the_option() -> None:
    arguments = ["analyze", "hf:gpt2", "--set", "n_layer=1", "--input", "input_ids=1x8:int64", "--exact", "--attention"]
    pytest.importorskip("transformers")
    dense, effective = (CliRunner().invoke(main, [*arguments, attention]).output for attention in ("dense", "effective"))
    assert "counted dense" in dense
    assert "counted effective: only the 432 pairs" in effective  # 12 heads, 8 * 9 / 2 pairs
    assert CliRunner().invoke(main, [*arguments, "sparse"]).exit_code == 2


def test_an_unknown_way_to_count_is_refused() -> None:
    with pytest.raises(OptionError, match="attention must be 'dense' or 'effective', but is 'sparse'"):
        flopscope.analyze(causal, query, key, value, attention="sparse")  # type: ignore[arg-type]
