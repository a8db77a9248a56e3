"""What people do by hand: the multiply-accumulates of well-known transformers as sums over their layers.

Nothing here is shared with the package. ``t`` is the number of tokens, ``d`` the width, ``f`` the hidden width of the MLP, ``v`` the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Sum = Callable[[Any, int], int]


def attention(t: int, d: int, heads: int, kv_heads: int, head: int, keys: int | None = None) -> int:
    """q, k, v and o projections, q.k and p.v: every query meets every key, whatever the mask."""
    keys = t if keys is None else keys
    return t * d * head * (heads + 2 * kv_heads) + t * heads * head * d + 2 * heads * t * keys * head


def gated(t: int, d: int, f: int) -> int:
    """gate, up and down."""
    return 3 * t * d * f


def plain(t: int, d: int, f: int) -> int:
    """up and down."""
    return 2 * t * d * f


def decoder(c: Any, t: int, *, head: int | None = None, kv: int | None = None, mlp: Callable[[int, int, int], int] = gated) -> int:
    """A decoder of the Llama kind with a head over every position."""
    heads = c.num_attention_heads
    width = head or c.hidden_size // heads
    layer = attention(t, c.hidden_size, heads, kv or c.num_key_value_heads, width) + mlp(t, c.hidden_size, c.intermediate_size)
    return c.num_hidden_layers * layer + t * c.hidden_size * c.vocab_size


def gpt2(c: Any, t: int) -> int:
    d = c.n_embd
    return c.n_layer * (attention(t, d, c.n_head, c.n_head, d // c.n_head) + plain(t, d, 4 * d)) + t * d * c.vocab_size


def old_decoder(c: Any, t: int, f: int) -> int:
    """As many keys as queries, and an MLP of two layers."""
    d, heads = c.hidden_size, c.num_attention_heads
    return c.num_hidden_layers * (attention(t, d, heads, heads, d // heads) + plain(t, d, f)) + t * d * c.vocab_size


def encoder(c: Any, t: int) -> int:
    """The layers of a BERT."""
    d, heads = c.hidden_size, c.num_attention_heads
    return c.num_hidden_layers * (attention(t, d, heads, heads, d // heads) + plain(t, d, c.intermediate_size))


def masked_lm(c: Any, t: int) -> int:
    """A BERT with a dense layer and the vocabulary above every position."""
    return encoder(c, t) + t * c.hidden_size * (c.hidden_size + c.vocab_size)


def moe_mlp(t: int, d: int, f: int, chosen: int, experts: int, shared: int = 0) -> int:
    """A router over all experts, k experts for each token, and a shared one as wide as ``shared``."""
    return t * d * experts + chosen * gated(t, d, f) + (gated(t, d, shared) if shared else 0)


def mixtral(c: Any, t: int) -> int:
    def mlp(t: int, d: int, f: int) -> int:
        return moe_mlp(t, d, f, c.num_experts_per_tok, c.num_local_experts)

    return decoder(c, t, mlp=mlp)


def qwen3_moe(c: Any, t: int) -> int:
    def mlp(t: int, d: int, _: int) -> int:
        return moe_mlp(t, d, c.moe_intermediate_size, c.num_experts_per_tok, c.num_experts)

    return decoder(c, t, mlp=mlp)


def deepseek_v3(c: Any, t: int) -> int:
    """Multi-head latent attention: low-rank queries, keys and values; keys are wider than values by the rotated part."""
    d, heads, rank = c.hidden_size, c.num_attention_heads, c.kv_lora_rank
    query, value = c.qk_nope_head_dim + c.qk_rope_head_dim, c.v_head_dim
    projections = t * (d * c.q_lora_rank + c.q_lora_rank * heads * query)
    projections += t * (d * (rank + c.qk_rope_head_dim) + rank * heads * (c.qk_nope_head_dim + value) + heads * value * d)
    attend = heads * t * t * (query + value)
    sparse = moe_mlp(t, d, c.moe_intermediate_size, c.num_experts_per_tok, c.n_routed_experts, c.moe_intermediate_size * c.n_shared_experts)
    dense = c.first_k_dense_replace
    mlps = dense * gated(t, d, c.intermediate_size) + (c.num_hidden_layers - dense) * sparse
    return c.num_hidden_layers * (projections + attend) + mlps + t * d * c.vocab_size


def patches(c: Any) -> tuple[int, int]:
    """How many patches there are, and what the convolution that makes them takes."""
    side = c.image_size // c.patch_size
    return side * side, side * side * c.hidden_size * c.num_channels * c.patch_size**2


def vit(c: Any, _: int) -> int:
    """Patches and a class token, and the pooler on it."""
    count, made = patches(c)
    return made + encoder(c, count + 1) + c.hidden_size**2


def clip(c: Any, t: int) -> int:
    count, made = patches(c.vision_config)
    projections = (c.vision_config.hidden_size + c.text_config.hidden_size) * c.projection_dim
    return made + encoder(c.vision_config, count + 1) + encoder(c.text_config, t) + projections + c.projection_dim


def t5(c: Any, t: int) -> int:
    """Both sides of ``t`` tokens. Inner width may differ from heads times head width."""
    d, inner = c.d_model, c.num_heads * c.d_kv
    own = attention(t, d, c.num_heads, c.num_heads, c.d_kv)
    mlp = plain(t, d, c.d_ff)
    assert inner == c.num_heads * c.d_kv
    return c.num_layers * (own + mlp) + c.num_decoder_layers * (2 * own + mlp) + t * d * c.vocab_size


def bart(c: Any, t: int) -> int:
    d = c.d_model
    enc = attention(t, d, c.encoder_attention_heads, c.encoder_attention_heads, d // c.encoder_attention_heads)
    dec = attention(t, d, c.decoder_attention_heads, c.decoder_attention_heads, d // c.decoder_attention_heads)
    layers = c.encoder_layers * (enc + plain(t, d, c.encoder_ffn_dim)) + c.decoder_layers * (2 * dec + plain(t, d, c.decoder_ffn_dim))
    return layers + t * d * c.vocab_size


def whisper(c: Any, t: int) -> int:
    """Two convolutions over the frames, of which the second halves them; the decoder attends to all that the encoder made."""
    d, heard = c.d_model, c.max_source_positions
    stem = 2 * heard * d * c.num_mel_bins * 3 + heard * d * d * 3
    heads = c.encoder_attention_heads
    enc = attention(heard, d, heads, heads, d // heads) + plain(heard, d, c.encoder_ffn_dim)
    heads = c.decoder_attention_heads
    across = 2 * t * d * d + 2 * heard * d * d + 2 * t * heard * d
    dec = attention(t, d, heads, heads, d // heads) + across + plain(t, d, c.decoder_ffn_dim)
    return stem + c.encoder_layers * enc + c.decoder_layers * dec + t * d * c.vocab_size
