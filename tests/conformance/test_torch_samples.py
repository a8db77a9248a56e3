"""PyTorch's own sample inputs of every op, run forward and backward: no call without a price, none that a rule refuses.

A sample of the ops, or all with ``FLOPSCOPE_ALL=1``. Where PyTorch has a formula of its own for an op, both must agree.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch

from flopscope.frontends.torch.schema import flat_tensors
from tests.conformance.checks import ALL
from tests.conformance.recording import Recording

pytest.importorskip("expecttest", reason="PyTorch's sample inputs need it")
STEP, SAMPLES = (1, 8) if ALL else (24, 2)
_CANNOT_RUN = (RuntimeError, NotImplementedError, IndexError, AssertionError, ValueError)
"""What PyTorch raises for samples that this device, dtype or mode does not support: a fault in a rule raises none of its own here."""


@pytest.fixture(scope="module")
def infos() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal import common_methods_invocations as database

    lists = [getattr(database, name) for name in sorted(dir(database)) if name.startswith("foreach_") and name.endswith("op_db")]
    return [info for infos in (database.op_db, *lists) for info in infos]


def samples(info: Any, dtype: torch.dtype) -> Iterator[Any]:
    try:
        yield from islice(info.sample_inputs("cpu", dtype, requires_grad=info.supports_autograd), SAMPLES)
    except _CANNOT_RUN:
        return


def run(info: Any, sample: Any) -> None:
    outputs = info.op(sample.input, *sample.args, **sample.kwargs)
    roots = [tensor for tensor in flat_tensors(outputs) if tensor.requires_grad]
    if info.supports_autograd and roots:
        torch.autograd.backward(roots, [torch.ones_like(root) for root in roots])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64], ids=str)
def test_every_sample_is_priced(infos: list[Any], dtype: torch.dtype) -> None:
    recording = Recording()
    for info in infos[::STEP]:
        if dtype not in info.supported_dtypes("cpu"):
            continue
        for sample in samples(info, dtype):
            try:
                with recording:
                    run(info, sample)
            except _CANNOT_RUN:
                continue
    assert recording.faults[:20] == []
    assert len(recording.priced) > (400 if ALL and dtype is torch.float32 else 25)
    assert recording.compared
