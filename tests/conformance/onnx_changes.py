"""What PyTorch's exporters are known to change in a model, and by how much that changes its counts, computed from the module alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn

from flopscope import Report


@dataclass(frozen=True)
class Change:
    """One change, and how many MACs and parameters the file has more because of it."""

    what: str
    macs: int = 0
    params: int = 0

    def __str__(self) -> str:
        return f"{self.what}: MACs {self.macs:+,}, params {self.params:+,}"


Known = Callable[[nn.Module, Report, set[bytes]], Change]


def changes_of(name: str, exporter: str, model: nn.Module, reference: Report, contents: set[bytes]) -> Iterator[Change]:
    """The changes that an exporter makes to a model."""
    folded = _folded_norms(model, reference, contents)
    if folded.params:
        yield folded
    for known in KNOWN.get((name, exporter), ()):
        yield known(model, reference, contents)


def _folded_norms(model: nn.Module, reference: Report, contents: set[bytes]) -> Change:
    """A batch norm whose weights are not in the file went into the convolution before it, which has a bias then."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    params = count = 0
    for op in reference.graph.ops:
        weights = [value.name for value in op.inputs if value.role == "parameter" and value.name in parameters]
        if op.kind != "batch_norm" or len(weights) < 2:
            continue
        weight = parameters[weights[0]].detach()
        source = op.inputs[0].producer
        before = reference.graph.ops[source] if source is not None else None
        if weight.numpy().tobytes() in contents or before is None or before.kind not in ("conv", "conv_transpose"):
            continue
        count += 1
        params -= 2 * weight.numel()
        params += weight.numel() if before.signature.get("bias") is None else 0
    return Change(f"{count} batch norms folded into convolutions", params=params)


def _gone(what: str, *ends: str) -> Known:
    """Parameters whose names end so: those that the file does not hold, not even transposed."""

    def known(model: nn.Module, _: Report, contents: set[bytes]) -> Change:
        found = [parameter.detach().numpy() for name, parameter in model.named_parameters() if name.endswith(ends)]
        return Change(what, params=-sum(value.size for value in found if not {value.tobytes(), value.T.tobytes()} & contents))

    return known


def _rows(end: str, rows: int = 16) -> Known:
    """Of a table, the file holds the rows that are looked up."""

    def known(model: nn.Module, _: Report, __: set[bytes]) -> Change:
        table = next(parameter for name, parameter in model.named_parameters() if name.endswith(end))
        return Change(_POSITIONS, params=(rows - table.shape[0]) * table.shape[1])

    return known


def _constant(what: str, *scopes: str) -> Known:
    """What modules compute does not depend on the input: it is computed at export, and their parameters are gone."""

    def known(model: nn.Module, reference: Report, _: set[bytes]) -> Change:
        macs = sum(row.cost.macs for row in reference.ops if any(scope in row.scope for scope in scopes))
        params = sum(p.numel() for name, p in model.named_parameters() if any(scope in name for scope in scopes))
        return Change(what, -macs, -params)

    return known


def _twice(what: str, *names: str) -> Known:
    """Parameters that the file holds twice, and does not say so."""

    def known(model: nn.Module, _: Report, __: set[bytes]) -> Change:
        parameters = dict(model.named_parameters(remove_duplicate=False))
        return Change(what, params=sum(parameters[name].numel() for name in names))

    return known


def _buffers(*ends: str) -> Known:
    """Buffers that the file does not tell from parameters."""

    def known(model: nn.Module, _: Report, __: set[bytes]) -> Change:
        elements = sum(buffer.numel() for name, buffer in model.named_buffers() if name.endswith(ends))
        return Change("buffers that the file does not tell from parameters", params=elements)

    return known


def _gathered_tables(model: nn.Module, _: Report, __: set[bytes]) -> Change:
    """A table of biases by relative position becomes a bias for each pair of positions, once in each head."""
    params = 0
    for module in model.modules():
        table = getattr(module, "relative_position_bias_table", None)
        if table is not None:
            params += module.relative_position_index.numel() * table.shape[1] - table.numel()
    return Change("the bias of each pair of positions is looked up at export", params=params)


def _first_state(_: nn.Module, __: Report, ___: set[bytes]) -> Change:
    """The first step of an RNN multiplies a state of zeros; a batch of 2, 12 x 12 weights."""
    return Change("the product with the initial state is computed at export", macs=-2 * 12 * 12)


_TIED = "shared weights are held twice, once transposed"
_UNUSED = "a norm whose result is not returned is left out"
_POSITIONS = "the positions are looked up at export"
KNOWN: dict[tuple[str, str], tuple[Known, ...]] = {
    ("rnn", "dynamo"): (_first_state,),
    ("upsampler", "dynamo"): (_gone("weight norm is computed at export", "original0"),),
    ("einsum", "script"): (_buffers("table"),),
    ("tied", "script"): (_twice(_TIED, "head.weight"),),
    ("roberta", "script"): (_twice(_TIED, "model.lm_head.decoder.weight"),),
    ("bert", "dynamo"): (_rows("position_embeddings.weight"),),
    ("albert", "dynamo"): (_rows("position_embeddings.weight"),),
    ("mobilebert", "dynamo"): (_rows("position_embeddings.weight"), _rows("token_type_embeddings.weight")),
    ("electra", "dynamo"): (_rows("position_embeddings.weight"),),
    ("distilbert", "dynamo"): (_rows("position_embeddings.weight"),),
    ("t5_encoder", "dynamo"): (_gone("the bias of positions is computed at export", "relative_attention_bias.weight"),),
    ("gpt2", "dynamo"): (_rows("wpe.weight"),),
    ("clip_vision", "script"): (_gone(_UNUSED, "post_layernorm.weight", "post_layernorm.bias"),),
    ("clip_vision", "dynamo"): (_gone(_UNUSED, "post_layernorm.weight", "post_layernorm.bias"),),
    ("swin_t", "script"): (_gathered_tables,),
    ("swin_t", "dynamo"): (_gone("the bias of positions is computed at export", "relative_position_bias_table"),),
    ("edgenext_xx_small", "dynamo"): (_constant("the code of positions is computed at export", "pos_embd"),),
    ("xcit_nano_12_p16_224", "dynamo"): (_constant("the code of positions is computed at export", "pos_embed"),),
    ("levit_128s", "dynamo"): (_gone("the bias of positions is looked up at export", "attention_biases"),),
    ("dm_nfnet_f0", "dynamo"): (_gone("two small convolutions are standardised at export", "stem.conv1.gain", "stem.conv2.gain"),),
}
