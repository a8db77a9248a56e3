"""A SPEC -> a model with its inputs.

======================================  =================================================================
``torchvision:NAME``                    a model of torchvision, without weights
``timm:NAME``                           a model of timm, without weights
``hf:TYPE``                             a transformers model type such as ``hf:llama``, with the config's defaults
``hf:FOLDER`` or ``hf:path/to/config.json``  a transformers model from its config, without weights
``package.module:factory``              what an importable function or class returns
``path/to/file.py:factory``             what a function or class in a file returns
``path/to/model.pt``                    a TorchScript program, as `torch.jit.save` writes it
``path/to/model.pt2``                   an exported program, as `torch.export.save` writes it, with its example inputs
======================================  =================================================================

Loading a program from a file runs what is in the file, as importing a module does: load only what you trust.
Nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flopscope.errors import OptionError, SpecError
from flopscope.frontends.sources import hf, python, saved, timm, torchvision
from flopscope.frontends.sources.hf_phases import CacheKind, Generation, Phase
from flopscope.frontends.sources.loaded import Loaded, explained

_LOADERS: dict[str, Callable[[str, Mapping[str, Any]], Loaded]] = {
    "torchvision": torchvision.load,
    "timm": timm.load,
    "hf": hf.load,
}
_FORMS = (
    "'torchvision:resnet50', 'timm:vit_base_patch16_224', 'hf:llama', 'hf:path/to/config.json', 'package.module:factory', "
    "'path/to/file.py:factory', 'path/to/model.pt' or 'path/to/model.pt2'"
)


def load(
    spec: str,
    settings: Mapping[str, Any] | None = None,
    inputs: Sequence[str] = (),
    *,
    phase: Phase | None = None,
    context: int | None = None,
    batch: int | None = None,
    cache: CacheKind | None = None,
) -> Loaded:
    """Build the model that a SPEC names, without memory, in evaluation mode.

    Args:
        spec: what to build, in one of the forms above.
        settings: keyword arguments for the factory, or fields of the config.
        inputs: shapes to use instead of the model's own, each as ``1x3x224x224`` or ``name=1x128:int64``.
        phase: for models of transformers that generate text: ``"prefill"`` is the first step of ``generate``, which reads a prompt and
            gives the logits of its last position; ``"decode"`` is one later step, which reads one token beside a cache.
        context: the tokens of the prompt, or in the cache. Default: 4096, or as many as the config allows if these are fewer.
        batch: how many sequences a phase works on. Default: 1.
        cache: ``"dynamic"``, which holds what was read, or ``"static"``, whose buffers hold the context and one token, and are attended
            to as a whole. Default: dynamic.

    Raises:
        OptionError: the phase or what belongs to it is outside its allowed values.
        SpecError: the SPEC names nothing that can be built.
        MissingPackageError: it needs a package that is not installed.
        InputError: an input cannot be read.

    Examples:
        >>> import flopscope
        >>> loaded = flopscope.load("torchvision:mobilenet_v2", {"width_mult": 0.5}, ["1x3x96x96"])
        >>> flopscope.analyze(loaded.model, *loaded.args, **loaded.kwargs).total.params
        1968680
    """
    if saved.names_program(spec):
        with explained(spec):
            loaded = saved.load(spec, dict(settings or {}))
        return loaded.with_inputs(inputs)
    source, colon, name = spec.partition(":")
    if not colon or not name or not source:
        raise SpecError(f"{spec!r} is no SPEC: expected for example {_FORMS}")
    generation = _generation(source, inputs, phase, {"context": context, "batch": batch, "cache": cache})
    if generation is not None:
        with explained(spec):
            return hf.load(name, dict(settings or {}), generation)
    loader = _LOADERS.get(source)
    with explained(spec):
        loaded = python.load(spec, dict(settings or {})) if loader is None else loader(name, dict(settings or {}))
    return loaded.with_inputs(inputs)


def _generation(source: str, inputs: Sequence[str], phase: Phase | None, details: Mapping[str, Any]) -> Generation | None:
    given = {name: value for name, value in details.items() if value is not None}
    if phase is None:
        if given:
            raise OptionError(f"{', '.join(given)} belongs to a phase of generation: say phase='prefill' or phase='decode' too")
        return None
    if source != "hf":
        raise OptionError("phases of generation are known of models of transformers (hf:TYPE, hf:FOLDER, hf:config.json) only")
    if inputs:
        raise OptionError("a phase of generation makes its own inputs: give context and batch instead of inputs")
    return Generation(phase, **given)
