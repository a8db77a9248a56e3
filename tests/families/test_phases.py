"""Prefill and decode against arithmetic: what one new token costs beside a cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import flopscope
from flopscope.errors import InputError, OptionError, SpecError
from tests.families import arithmetic as by_hand

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

SMALL = {
    "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2,
}  # fmt: skip


def analyze(spec: str, settings: dict[str, Any] | None = None, **phase: Any) -> flopscope.Report:
    loaded = flopscope.load(spec, settings, **phase)
    return loaded.noted(flopscope.analyze(loaded.model, *loaded.args, execute="never", **loaded.kwargs))


def step(keys: int, *, width: int = 64, kv: int = 32, hidden: int = 96, batch: int = 1) -> int:
    """One layer of SMALL for one token."""
    return batch * (2 * width * width + 2 * width * kv + 3 * width * hidden + 2 * keys * width)


@pytest.mark.parametrize("context", [1, 7, 4096])
def test_decode_meets_every_key_and_the_new_one(context: int) -> None:
    report = analyze("hf:llama", SMALL, phase="decode", context=context)
    assert report.total.macs == 3 * step(context + 1) + 64 * 1000
    keys = [value.shape for value in report.graph.inputs[1:]]
    assert keys == 6 * [(1, 2, context, 16)]


def test_access_of_decode_is_weights_and_cache() -> None:
    far, near = (analyze("hf:llama", SMALL, phase="decode", context=context).total for context in (4096, 2048))
    kept = 2 * 2048 * 2 * 16  # keys and values of 2 heads of 16
    assert far.access - near.access == 3 * 3 * kept  # in 3 layers: read to be joined to the new ones, written, read by the attention
    assert near.access > sum(3 * [64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 96]) + 64 * 1000


def test_batches_and_static_caches() -> None:
    report = analyze("hf:llama", SMALL, phase="decode", context=100, batch=5)
    assert report.total.macs == 3 * step(101, batch=5) + 5 * 64 * 1000
    static = analyze("hf:llama", SMALL, phase="decode", context=100, cache="static")
    assert static.total.macs == 3 * step(101) + 64 * 1000
    assert "in static buffers for 101" in static.notes[1]


def test_a_cache_of_the_user_is_an_input_and_stays_as_it_was() -> None:
    transformers = pytest.importorskip("transformers")
    model = flopscope.load("hf:llama", SMALL).model
    token = torch.zeros(1, 1, dtype=torch.int64)
    cache = transformers.StaticCache(config=model.config, max_cache_len=32)
    cache.early_initialization(1, 2, 16, torch.float32, torch.device("cpu"))
    before = [layer.keys.clone() for layer in cache.layers]
    first, second = (flopscope.analyze(model, token, past_key_values=cache) for _ in range(2))
    assert first.total == second.total
    assert first.total.macs == 3 * step(32) + 64 * 1000  # static buffers are attended to as a whole
    assert all(torch.equal(layer.keys, kept) for layer, kept in zip(cache.layers, before, strict=True))
    assert int(cache.get_seq_length()) == 0
    growing = transformers.DynamicCache(config=model.config)
    for layer in range(3):
        growing.update(torch.empty(1, 2, 9, 16, device="meta"), torch.empty(1, 2, 9, 16, device="meta"), layer)
    assert flopscope.analyze(model, token, past_key_values=growing).total.macs == 3 * step(10) + 64 * 1000
    assert growing.get_seq_length() == 9


def test_prefill_gives_the_logits_of_the_last_position() -> None:
    report = analyze("hf:llama", SMALL, phase="prefill", context=50)
    layer = 50 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96) + 2 * 50 * 50 * 64
    assert report.total.macs == 3 * layer + 64 * 1000
    assert "logits of the last position only, as generate does" in report.notes[1]


def test_sliding_windows() -> None:
    settings = SMALL | {"sliding_window": 32}
    assert analyze("hf:mistral", settings, phase="decode", context=20).total.macs == 3 * step(21) + 64 * 1000
    assert analyze("hf:mistral", settings, phase="decode", context=4096).total.macs == 3 * step(32) + 64 * 1000
    mixed = SMALL | {"sliding_window": 32, "head_dim": 16, "num_hidden_layers": 2}
    report = analyze("hf:gemma2", mixed, phase="decode", context=4096)  # one layer of each kind
    assert report.total.macs == step(32) + step(4097) + 64 * 1000


def test_encoder_decoders_attend_to_what_was_read_without_reading_it_again() -> None:
    report = analyze("hf:t5", {"num_layers": 2, "num_decoder_layers": 2}, phase="decode", context=100)
    config = flopscope.load("hf:t5").model.config
    width = config.d_model
    own = 4 * width * width + 2 * 101 * width
    across = 2 * width * width + 2 * 100 * width  # keys and values of the encoder's output are in the cache
    assert report.total.macs == 2 * (own + across + by_hand.plain(1, width, config.d_ff)) + width * config.vocab_size
    report = analyze("hf:whisper", phase="decode", context=447)
    width, layers = 384, 4
    own, across = 4 * width * width + 2 * 448 * width, 2 * width * width + 2 * 1500 * width
    assert report.total.macs == layers * (own + across + 2 * width * 1536) + width * 51865


def test_states_of_constant_size_cost_the_same_after_any_context() -> None:
    for name in ("mamba", "mamba2", "rwkv"):
        settings = {"num_hidden_layers": 2}
        short, long = (analyze(f"hf:{name}", settings, phase="decode", context=context).total for context in (64, 65536))
        assert short == long, name
    report = analyze("hf:mamba", {"num_hidden_layers": 2}, phase="decode", context=64)
    width, inner, state, rank, kernel = 768, 1536, 16, 48, 4
    layer = 2 * width * inner + inner * (rank + 2 * state) + rank * inner + inner * width
    scan = report.total.macs - 2 * layer - width * 50280
    assert 0 <= scan <= 2 * inner * (2 * state + kernel)  # how the step of the state and the short convolution are written


def test_experts_are_read_as_many_as_a_token_meets() -> None:
    settings = SMALL | {"num_local_experts": 8, "num_experts_per_tok": 2}
    report = analyze("hf:mixtral", settings, phase="decode", context=16)
    assert report.total.macs == 3 * (step(17) + 3 * 64 * 96 + 64 * 8) + 64 * 1000
    read = sum(row.cost.elements_read for row in report.ops if row.kind == "grouped_mm")
    weights = 3 * 2 * 3 * 64 * 96
    assert weights <= read <= weights + 3 * 2 * (2 * 64 + 2 * 96)  # two experts of eight, and their rows


@pytest.mark.parametrize(
    ("spec", "phase", "error", "message"),
    [
        ("hf:bert", {"phase": "decode"}, SpecError, "does not generate token by token"),
        ("hf:llama", {"context": 8}, OptionError, "context belongs to a phase"),
        ("hf:llama", {"phase": "train"}, OptionError, "phase must be 'prefill' or 'decode'"),
        ("hf:llama", {"phase": "decode", "context": 0}, OptionError, "context must be a whole number of 1 or more"),
        ("hf:llama", {"phase": "decode", "inputs": ["1x3"]}, OptionError, "makes its own inputs"),
        ("torchvision:resnet18", {"phase": "decode"}, OptionError, "phases of generation are known of models of transformers"),
        ("hf:whisper", {"phase": "decode", "context": 448}, InputError, "the decoder has 448 positions"),
        ("hf:llava", {"phase": "prefill", "context": 100}, InputError, "the image or sound alone takes 576 tokens"),
    ],
)
def test_what_cannot_be_is_said(spec: str, phase: dict[str, Any], error: type[Exception], message: str) -> None:
    settings = {"num_hidden_layers": 1} if spec in ("hf:llama", "hf:bert") else {}
    with pytest.raises(error, match=message):
        flopscope.load(spec, settings, **phase)


@pytest.mark.parametrize(("phase", "most", "field"), [("decode", 1023, "max_position_embeddings"), ("prefill", 1024, "max_position_")])
def test_a_context_beyond_a_table_of_positions_is_refused(phase: Any, most: int, field: str) -> None:
    with pytest.raises(InputError, match=f"takes at most {most} .the config's {field}") as refused:
        flopscope.load("hf:gpt2", {"n_layer": 1}, phase=phase, context=most + 1)
    assert len(str(refused.value)) < 200
    assert analyze("hf:gpt2", {"n_layer": 1}, phase=phase, context=most).total.macs > 0


@pytest.mark.parametrize(
    ("spec", "settings", "phase", "tokens"),
    [
        ("hf:gpt2", {"n_layer": 1}, "decode", 1023),
        ("hf:gpt2", {"n_layer": 1}, "prefill", 1024),
        ("hf:llama", SMALL | {"max_position_embeddings": 5000}, "decode", 4096),
        ("hf:llama", SMALL | {"max_position_embeddings": 4096}, "decode", 4095),
        ("hf:whisper", {"encoder_layers": 1, "decoder_layers": 1}, "decode", 447),
    ],
)
def test_a_context_that_nobody_asked_for_is_one_that_the_config_allows(
    spec: str, settings: dict[str, Any], phase: Any, tokens: int
) -> None:
    loaded = flopscope.load(spec, settings, phase=phase)
    assert loaded.input_note is not None
    assert f" {tokens} tokens" in loaded.input_note
    assert (f"allows {tokens}" in loaded.input_note) == (tokens != 4096)
    assert flopscope.analyze(loaded.model, *loaded.args, execute="never", **loaded.kwargs).total.macs > 0


def test_rotary_positions_go_on_beyond_what_the_config_says() -> None:
    assert analyze("hf:llama", SMALL, phase="decode", context=5000).total.macs == 3 * step(5001) + 64 * 1000


def test_the_command_line_shows_a_phase() -> None:
    from click.testing import CliRunner

    from flopscope.cli.main import main

    small = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
    result = CliRunner().invoke(main, ["analyze", "hf:llama", *small, "--phase", "decode", "--context", "100", "--depth", "0"])
    assert result.exit_code == 0, result.output
    assert f"MACs    {3 * step(101) + 64 * 1000:,}" in result.stdout
    assert "inputs  int64[1, 1], 6 of float32[1, 2, 100, 16]\n" in result.stdout
    assert (
        "note: decode: one new token after a cache of 100 tokens (19,200 elements, 76,800 bytes, as its layers keep them)" in result.stdout
    )
    result = CliRunner().invoke(main, ["analyze", "hf:llama", "--context", "100"])
    assert result.exit_code == 2
    assert "belongs to a phase of generation" in result.output
