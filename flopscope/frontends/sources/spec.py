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

from flopscope.errors import SpecError
from flopscope.frontends.sources import hf, python, saved, timm, torchvision
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


def load(spec: str, settings: Mapping[str, Any] | None = None, inputs: Sequence[str] = ()) -> Loaded:
    """Build the model that a SPEC names, without memory, in evaluation mode.

    Args:
        spec: what to build, in one of the forms above.
        settings: keyword arguments for the factory, or fields of the config.
        inputs: shapes to use instead of the model's own, each as ``1x3x224x224`` or ``name=1x128:int64``.

    Raises:
        SpecError: the SPEC names nothing that can be built.
        MissingPackageError: it needs a package that is not installed.
        InputError: an input cannot be read.
    """
    if saved.names_program(spec):
        with explained(spec):
            loaded = saved.load(spec, dict(settings or {}))
        return loaded.with_inputs(inputs)
    source, colon, name = spec.partition(":")
    if not colon or not name or not source:
        raise SpecError(f"{spec!r} is no SPEC: expected for example {_FORMS}")
    loader = _LOADERS.get(source)
    with explained(spec):
        loaded = python.load(spec, dict(settings or {})) if loader is None else loader(name, dict(settings or {}))
    return loaded.with_inputs(inputs)
