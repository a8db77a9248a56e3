"""Models of transformers from their configs, without weights."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flopscope.errors import MissingPackageError, SpecError
from flopscope.frontends.sources.hf_classes import class_for
from flopscope.frontends.sources.hf_inputs import inputs_for
from flopscope.frontends.sources.hf_phases import Generation, phase_inputs
from flopscope.frontends.sources.loaded import Loaded, built, no_such_name
from flopscope.frontends.torch.building import building


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingPackageError(
            "models of transformers need the package transformers, which is not installed: pip install 'flopscope[hf]'"
        ) from error
    return transformers


def names() -> list[str]:
    """The model types that transformers knows.

    Raises:
        MissingPackageError: transformers is not installed.
    """
    return sorted(_transformers().CONFIG_MAPPING)


def load(name: str, settings: Mapping[str, Any], generation: Generation | None = None) -> Loaded:
    """The model of a type, of a folder with a ``config.json``, or of such a file, with its own inputs or those of a phase of generation.

    Raises:
        SpecError: there is no such type or file, or the config cannot be built, or the model does not generate.
        InputError: the model cannot read such a context.
        MissingPackageError: transformers is not installed.
    """
    transformers = _transformers()
    config = _config(transformers, name, settings)
    model_class = class_for(transformers, config)
    model = _built(model_class, config, f"hf:{name}").eval()
    kwargs, note = inputs_for(model, config) if generation is None else phase_inputs(model, config, generation)
    return Loaded(f"hf:{name}", model, (), kwargs, (f"built as {type(model).__name__}",), note)


def _built(model_class: Any, config: Any, what: str) -> Any:
    """The model without memory. Few constructors need data: only these are run for real, because most models are too large for that."""
    try:
        with building():
            return _from_config(model_class, config)
    except RuntimeError as error:
        if any(sign in str(error).lower() for sign in ("meta", "unallocated", "data pointer")):
            return built(lambda: _from_config(model_class, config), what)
        raise _unbuilt(what, error) from error
    except Exception as error:
        raise _unbuilt(what, error) from error


def _unbuilt(what: str, error: Exception) -> SpecError:
    first_line = (str(error).strip().splitlines() or ["no message"])[0]
    return SpecError(
        f"cannot build {what}: {type(error).__name__}: {first_line}. If it is a field that the default config leaves open, give it "
        "(--set FIELD=VALUE), or the config.json of a published model"
    )


def _from_config(model_class: Any, config: Any) -> Any:
    build = getattr(model_class, "from_config", None) or model_class._from_config
    return build(config)


def _config(transformers: Any, name: str, settings: Mapping[str, Any]) -> Any:
    path = Path(name)
    file = path / "config.json" if path.is_dir() else path
    if file.suffix == ".json" or path.is_dir():
        if not file.is_file():
            raise SpecError(f"there is no file {file} (looked in {Path.cwd()})")
        try:
            fields = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise SpecError(f"{file} is no readable JSON: {error}") from error
        if not isinstance(fields, dict) or "model_type" not in fields:
            raise SpecError(f"{file} has no field 'model_type', so it is no config of transformers")
        name = str(fields.pop("model_type"))
    else:
        fields = {}
    if name not in transformers.CONFIG_MAPPING:
        raise no_such_name("hf", name, transformers.CONFIG_MAPPING)
    config_class = transformers.CONFIG_MAPPING[name]
    known = config_class()
    for key in settings:
        if not hasattr(known, key) and not _is_read(config_class, key):
            raise SpecError(f"the config of hf:{name} has no field {key!r}. It has: {', '.join(sorted(known.to_dict()))}")
    try:
        return config_class(**{**fields, **settings})
    except Exception as error:
        raise SpecError(f"transformers does not accept this config of type {name!r}: {type(error).__name__}: {error}") from error


def _is_read(config_class: Any, key: str) -> bool:
    """Whether the models of a config look at a field that the config itself does not declare, as files of published models may have."""
    folder = Path(inspect.getfile(config_class)).parent
    sources = (path.read_text(encoding="utf-8") for path in folder.glob("modeling_*.py"))
    return any(f'"{key}"' in source or f"config.{key}" in source for source in sources)
