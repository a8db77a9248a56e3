"""What devices share: arithmetic written out, torch's own buckets, and a real run of two processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import flopscope
from flopscope.analyses.training.optimizers import OPTIMIZERS
from flopscope.analyses.training.sharding import STRATEGIES, buckets, share, units_of
from flopscope.errors import OptionError
from flopscope.graph import TensorType, Weight

ADAM = OPTIMIZERS["adam"]


def weights(*shapes: tuple[int, ...], dtype: str = "float32") -> list[Weight]:
    return [Weight(str(number), TensorType.of(shape, dtype), scope=f"blocks.{number}") for number, shape in enumerate(shapes)]


def test_what_is_divided_by_what() -> None:
    model = weights((80, 10), (16,))  # 816 elements, 3264 bytes; each of 8 devices has 102
    ddp, zero1, zero2, fsdp = (share(model, ADAM, 8, strategy) for strategy in STRATEGIES)
    assert (ddp.parameter_bytes, ddp.gradient_bytes, ddp.state_bytes, ddp.bucket_bytes) == (3264, 3264, 2 * 3264 + 8, 3264)
    assert (zero1.parameter_bytes, zero1.gradient_bytes, zero1.state_bytes) == (3264, 3264, 2 * 408 + 4)
    assert (zero2.parameter_bytes, zero2.gradient_bytes, zero2.state_bytes) == (3264, 408, 2 * 408 + 4)
    assert (fsdp.parameter_bytes, fsdp.gradient_bytes, fsdp.state_bytes) == (408, 408, 2 * 408 + 8)
    # Rajbhandari et al. 2020, section 7: twice the model for each but the last, whose parameters are gathered once more where they
    # are let go of in between; a device sends 7/8 of each.
    assert ddp.sent_bytes == zero1.sent_bytes == zero2.sent_bytes == 2 * 3264 * 7 // 8
    assert fsdp.sent_bytes == 2 * 3264 * 7 // 8
    assert share(model, ADAM, 8, "fsdp", ["blocks.0", "blocks.1"]).sent_bytes == 3 * 3264 * 7 // 8


def test_the_zero_paper_of_one_billion_parameters() -> None:
    # Rajbhandari et al. 2020, figure 1: 7.5 billion parameters, 64 devices, K = 12: 120 GB, 31.4 GB, 16.6 GB and 1.9 GB.
    model, optimizer = weights((7500, 1_000_000), dtype="bfloat16"), ADAM.with_settings(master_weights=True)

    def states(strategy: str) -> float:
        found = share(model, optimizer, 64, strategy)  # type: ignore[arg-type]
        return round((found.parameter_bytes + found.gradient_bytes + found.state_bytes) / 1e9, 1)

    assert [states(strategy) for strategy in STRATEGIES] == [120.0, 31.4, 16.6, 1.9]


def test_parts_are_padded() -> None:
    model = weights((10, 3), (1,))
    assert share(model, ADAM, 4).parameter_bytes == (3 * 3 + 1) * 4
    assert share(model, ADAM, 4, "zero2").gradient_bytes == 8 * 4  # 31 elements, 8 for each
    assert share(model, ADAM, 4).sent_bytes == 2 * 3 * 40


def test_units_are_put_together_two_at_a_time() -> None:
    model = [Weight("head", TensorType.of((100,)), scope=""), *weights((8,), (16,), (32,), (8,))]
    units = [f"blocks.{number}" for number in range(4)]
    assert share(model, ADAM, 4, "fsdp", units).gathered_bytes == (100 + 16 + 32) * 4
    assert share(model, ADAM, 4, "fsdp").gathered_bytes == (100 + 8 + 16 + 32 + 8) * 4
    assert share(model, ADAM, 1, "fsdp", units).gathered_bytes == 0


def test_one_device_sends_nothing() -> None:
    for strategy in STRATEGIES:
        found = share(weights((80, 10), (16,)), ADAM, 1, strategy)
        assert found.sent_bytes == 0
        assert found.held_bytes == 4 * 816 * 4 + (8 if strategy in ("ddp", "fsdp") else 4)


@pytest.mark.parametrize("model", ["resnet18", "vgg11", "vit_b_16"])
def test_buckets_are_those_of_torch(model: str) -> None:
    from flopscope.analyses.training.sharding import BUCKET_BYTES, FIRST_BUCKET_BYTES

    with torch.device("meta"):
        named = list(flopscope.load(f"torchvision:{model}").model.named_parameters())
    tensors = [parameter for _, parameter in reversed(named)]
    limits = [FIRST_BUCKET_BYTES, BUCKET_BYTES]
    real, _ = torch.distributed._compute_bucket_assignment_by_size([torch.empty(t.shape) for t in tensors], limits)  # type: ignore[attr-defined]
    names = [name for name, _ in reversed(named)]
    listed = [Weight(name, TensorType.of(tuple(parameter.shape)), scope="") for name, parameter in named]
    assert buckets(listed) == [[names[index] for index in bucket] for bucket in real]


def test_units_of_a_model() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2))
    report = flopscope.analyze(model, "1x4")
    assert units_of(report.graph) == ["0", "1", "2"]


RUN = """
import json, os, sys
import torch, torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 5), nn.Linear(5, 3))
for layer in (model[0], model[2], model[3]):
    fully_shard(layer)
fully_shard(model)
optimizer = torch.optim.AdamW(model.parameters())
model(torch.randn(4, 6)).sum().backward()
optimizer.step()
local = lambda t: t.to_local() if hasattr(t, "to_local") else t
held = lambda tensors: sum(local(t).nbytes for t in tensors)
print(json.dumps([held(model.parameters()), held(p.grad for p in model.parameters()),
                  held(t for s in optimizer.state.values() for t in s.values())]))
dist.destroy_process_group()
"""


def test_two_processes_hold_what_the_formula_says(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN]
    running = [subprocess.Popen([*command, str(rank), str(tmp_path / "meet")], stdout=-1, stderr=-1, text=True) for rank in (0, 1)]
    (first, said), (second, _) = (process.communicate(timeout=120) for process in running)
    assert running[0].returncode == running[1].returncode == 0, said
    model = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 5), nn.Linear(5, 3))
    found = share(flopscope.analyze(model, "1x6").graph.parameters, OPTIMIZERS["adamw"], 2)
    assert json.loads(first) == [found.parameter_bytes, found.gradient_bytes, found.state_bytes]
    assert all(other <= most for other, most in zip(json.loads(second), json.loads(first), strict=True))


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(OptionError, match="there is no way 'zero9' to share a model; choose one of ddp, zero1, zero2, fsdp"):
        share([], ADAM, 2, "zero9")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="at least one device"):
        share([], ADAM, 0)
