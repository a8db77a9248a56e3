"""The predicted peak of activations on eager CPU against the allocator's, for whole models that are run for real."""

from __future__ import annotations

import os

import pytest
import torch

import flopscope
from benchmarks.memory_models import ALL, SAMPLE
from flopscope.analyses.memory.kernels import growths
from flopscope.analyses.memory.storages import storages
from flopscope.analyses.memory.timeline import timeline
from tests.memory.measuring import growth

TOO_HIGH, TOO_LOW = 1.02, 0.995
"""What a prediction may be of the measured peak."""
FULL = os.environ.get("FLOPSCOPE_ALL") == "1"


MODELS = ALL if FULL else SAMPLE


@pytest.mark.parametrize("name", MODELS)
def test_predicted_peak_is_what_a_real_run_takes(name: str) -> None:
    if "AVX512" not in torch.backends.cpu.get_cpu_capability():
        pytest.skip("the kernels were measured with AVX-512")
    try:
        model, args, kwargs = MODELS[name]()
    except ImportError as error:
        pytest.skip(str(error))
    graph = flopscope.analyze(model, *args, **kwargs)._graph
    line = timeline(storages(graph), len(graph.ops), growths(graph))
    with torch.inference_mode():
        measured = growth(lambda: model(*args, **kwargs), warm=False)
    predicted = line.peak_bytes - line.before_bytes
    assert TOO_LOW * measured <= predicted <= TOO_HIGH * measured
