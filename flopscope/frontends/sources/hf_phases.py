"""The two phases of generation: reading a prompt, and writing one token after it.

The cache of the second is made by the model itself: it reads a few tokens on shapes alone, and the layers of the cache are then extended to
the context by their own method, so that windows, static buffers and states of constant size are what the family uses.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from flopscope.errors import FlopscopeError, InputError, NeedsDataError, OptionError, SpecError
from flopscope.frontends.sources.hf_inputs import inputs_for, note_of, text_config_of, token_ids
from flopscope.frontends.sources.hf_media import Inputs, bare
from flopscope.frontends.torch.held import tensors_in, with_twins

Phase = Literal["prefill", "decode"]
CacheKind = Literal["dynamic", "static"]
CONTEXT = 4096
"""The most tokens of a context that nobody asked for."""
_POSITIONS = ("max_position_embeddings", "n_positions", "max_target_positions", "max_decoder_position_embeddings", "max_seq_len")
"""How configs call the number of positions that a model is made for."""
_FIRST_TOKENS = 11
"""What the model reads to make its cache: few tokens, and a number that no size of a state has by chance."""
_CACHES = ("cache", "past_key_values", "cache_params", "state")
"""How forwards call their cache: transformers 5.24 says ``cache`` where earlier ones said the other names."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What part of generation to look at."""

    phase: Phase
    context: int | None = None
    """Tokens of the prompt, or tokens that the cache holds; ``None`` for 4096, or as many as the config allows if these are fewer."""
    batch: int = 1
    cache: CacheKind = "dynamic"

    def __post_init__(self) -> None:
        if self.phase not in ("prefill", "decode"):
            raise OptionError(f"phase must be 'prefill' or 'decode', but is {self.phase!r}")
        if self.cache not in ("dynamic", "static"):
            raise OptionError(f"cache must be 'dynamic' or 'static', but is {self.cache!r}")
        for name, value in (("context", self.tokens), ("batch", self.batch)):
            if not isinstance(value, int) or value < 1:
                raise OptionError(f"{name} must be a whole number of 1 or more, but is {value!r}")

    @property
    def tokens(self) -> int:
        """The context as a number."""
        return CONTEXT if self.context is None else self.context


def phase_inputs(model: Any, config: Any, wanted: Generation) -> tuple[Inputs, str]:
    """The inputs of one call of the model in a phase, and a note that says what they stand for.

    Raises:
        SpecError: the model does not generate text with a cache that it returns.
        InputError: it cannot read a context of this length.
    """
    names = inspect.signature(model.forward).parameters
    cache_name = next((name for name in _CACHES if name in names), None)
    if cache_name is None or not ("input_ids" in names or "decoder_input_ids" in names):
        raise SpecError(
            f"{type(model).__name__} does not generate token by token (its forward takes none of {', '.join(_CACHES)}), "
            "so it has no phases; leave the phase out"
        )
    limit, field = _limit(config, wanted)
    asked, why = wanted, ""
    if asked.context is None and limit is not None and limit < CONTEXT:
        wanted = replace(asked, context=limit)
        why = f"; nobody asked for another context, and the config's {field} allows {limit} (change with --context)"
    try:
        inputs, note = (
            _prefill(model, config, wanted, names) if wanted.phase == "prefill" else _decode(model, config, wanted, names, cache_name)
        )
    except InputError:
        raise
    except FlopscopeError as error:
        raise InputError(f"a context of {wanted.tokens} tokens is not possible: {error}") from error
    if limit is not None and wanted.tokens > limit:
        _check_reach(model, inputs, wanted, limit, field)
    return inputs, note + why


def _limit(config: Any, wanted: Generation) -> tuple[int | None, str]:
    """The longest context that a config is made for, and the field that says so. The new token of a decode step takes a position, too."""
    holders = (config, text_config_of(config))
    stated = [(getattr(holder, field, None), field) for holder in holders for field in _POSITIONS]
    known = [(positions, field) for positions, field in stated if isinstance(positions, int) and positions > 1]
    if not known:
        return None, ""
    positions, field = min(known, key=lambda found: found[0])
    return positions - (wanted.phase == "decode"), field


def _check_reach(model: Any, inputs: Inputs, wanted: Generation, limit: int, field: str) -> None:
    """Refuse a context that the model cannot take. Many can take more than their config says: rotary positions never end.

    Raises:
        InputError: the model fails on the shapes of this context.
    """
    from flopscope.frontends.torch.trace import trace

    try:
        trace(model, (), inputs, execute="never")
    except NeedsDataError:
        return  # whoever analyses it will see
    except FlopscopeError as error:
        raise InputError(
            f"a context of {wanted.tokens} tokens does not fit: {type(model).__name__} takes at most {limit} "
            f"(the config's {field}{', less one for the new token' if wanted.phase == 'decode' else ''}); ask for a shorter context"
        ) from error


def _prefill(model: Any, config: Any, wanted: Generation, names: Mapping[str, Any]) -> tuple[Inputs, str]:
    inputs = _prompt(model, config, wanted, names, wanted.tokens, 1)
    last_only = "logits_to_keep" in names
    inputs |= {"use_cache": True} if "use_cache" in names else {}
    inputs |= {"logits_to_keep": 1} if last_only else {}
    logits = "the last position only, as generate does" if last_only else "every position, because its forward has no logits_to_keep"
    return inputs, f"prefill: a prompt of {wanted.tokens} tokens, logits of {logits}; {note_of(inputs)}"


def _prompt(model: Any, config: Any, wanted: Generation, names: Mapping[str, Any], read: int, written: int) -> Inputs:
    """A prompt of ``read`` tokens; an encoder reads its whole prompt, and the decoder ``written`` tokens."""
    if "decoder_input_ids" in names:
        inputs, _ = inputs_for(model, config, wanted.tokens)
        inputs["decoder_input_ids"] = token_ids(config, written)
    else:
        inputs, _ = inputs_for(model, config, read)
        if inputs["input_ids"].shape[1] > read:
            taken = inputs["input_ids"].shape[1]
            raise InputError(f"the image or sound alone takes {taken} tokens, which is more than the context of {read}; ask for more")
    return {name: _repeated(name, value, wanted.batch) for name, value in inputs.items()}


def _repeated(name: str, value: Any, batch: int) -> Any:
    if batch == 1 or not isinstance(value, torch.Tensor):
        return value
    if value.shape[:1] != (1,):
        raise InputError(f"the input {name} of shape {tuple(value.shape)} has no batch dimension to repeat; use a batch of 1")
    return value.expand(batch, *value.shape[1:]).contiguous()


def _decode(model: Any, config: Any, wanted: Generation, names: Mapping[str, Any], cache_name: str) -> tuple[Inputs, str]:
    has_decoder = "decoder_input_ids" in names
    limit = getattr(config, "max_target_positions", None)  # a table of positions, which ends
    if isinstance(limit, int) and wanted.tokens >= limit:
        raise InputError(f"a context of {wanted.tokens} tokens is not possible: the decoder has {limit} positions; ask for fewer")
    first = min(_FIRST_TOKENS, wanted.tokens)
    inputs = _prompt(model, config, wanted, names, first, first) if has_decoder else {"input_ids": token_ids(config, first, wanted.batch)}
    inputs |= {"use_cache": True} if "use_cache" in names else {}
    if wanted.cache == "static":
        inputs[cache_name] = _static_cache(config, wanted.tokens + 1, has_decoder)
    cache, encoded = _after(model, inputs, cache_name)
    _extend(cache, wanted.tokens - first, type(model).__name__)
    step: Inputs = {"decoder_input_ids" if has_decoder else "input_ids": token_ids(config, 1, wanted.batch), cache_name: cache}
    step |= {"use_cache": True} if "use_cache" in names else {}
    if has_decoder and "encoder_outputs" in names:
        from transformers.modeling_outputs import BaseModelOutput

        step["encoder_outputs"] = BaseModelOutput(last_hidden_state=encoded)
    return step, _note_of_step(wanted, list(tensors_in(cache)), encoded)


def _note_of_step(wanted: Generation, held: list[torch.Tensor], encoded: torch.Tensor | None) -> str:
    held = [tensor for tensor in held if tensor.is_floating_point()]
    elements = sum(tensor.numel() for tensor in held)
    size = sum(tensor.nbytes for tensor in held)
    sequences = "" if wanted.batch == 1 else f" for each of {wanted.batch} sequences"
    heard = "" if encoded is None else f", beside {encoded.shape[-2]} positions of the encoder"
    kind = "" if wanted.cache == "dynamic" else f" in static buffers for {wanted.tokens + 1}"
    return (
        f"decode: one new token{sequences} after a cache of {wanted.tokens} tokens{kind}{heard} "
        f"({elements:,} elements, {size:,} bytes, as its layers keep them)"
    )


def _static_cache(config: Any, length: int, has_decoder: bool) -> Any:
    import transformers

    cache = transformers.StaticCache(config=config, max_cache_len=length)
    return transformers.EncoderDecoderCache(cache, transformers.DynamicCache()) if has_decoder else cache


def _after(model: Any, inputs: Inputs, cache_name: str) -> tuple[Any, torch.Tensor | None]:
    """The cache that the model leaves after a call, without data, and what its encoder made."""
    from flopscope.frontends.torch.trace import trace

    kept: list[Any] = []

    def call(**inputs: Any) -> Any:
        output = model(**inputs)
        kept.extend((getattr(output, cache_name, None), getattr(output, "encoder_last_hidden_state", None)))
        return output.logits if hasattr(output, "logits") else output[0]

    call.__self__ = model  # type: ignore[attr-defined]  # the weights belong to the model
    trace(call, (), inputs, execute="never")
    cache, encoded = kept
    if cache is None or not any(True for _ in tensors_in(cache)):
        raise SpecError(f"{type(model).__name__} returned no {cache_name}, so it has no phases")
    with torch.inference_mode(False):
        return with_twins(cache, _free), None if encoded is None else _free(encoded)


def _free(tensor: torch.Tensor) -> torch.Tensor:
    """The same tensor with nothing of the trace on it: shapes for floating point, a copy of the values of integers."""
    made = bare(tensor)
    return made.clone() if made is tensor and tensor.device.type != "meta" else torch.empty_like(made)


def _extend(cache: Any, tokens: int, name: str) -> None:
    """Let every layer of a cache that keeps keys and values keep so many more of them."""
    own = getattr(cache, "self_attention_cache", cache)
    layers = getattr(own, "layers", None)
    if layers is None:
        grows = [tuple(t.shape) for t in tensors_in(cache) if _FIRST_TOKENS in t.shape]
        if grows and tokens:
            raise SpecError(f"{name} keeps a cache of its own kind ({grows[0]}), which only it can extend; give its inputs yourself")
        return
    with torch.inference_mode(False), torch.no_grad():
        for layer in layers if tokens else ():
            keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
            if not isinstance(keys, torch.Tensor) or not isinstance(values, torch.Tensor) or keys.dim() != 4:
                continue
            layer.update(*(torch.empty(*t.shape[:2], tokens, t.shape[3], dtype=t.dtype, device=t.device) for t in (keys, values)))
            index = getattr(layer, "indexer_keys", None)
            if isinstance(index, torch.Tensor):
                layer.update_indexer(torch.empty(index.shape[0], tokens, index.shape[2], dtype=index.dtype, device=index.device))
