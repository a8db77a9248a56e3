"""The narrated small flopscope in docs/ counts what flopscope counts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torchvision
from torch import nn

import flopscope

PATH = Path(__file__).parent.parent / "docs" / "a_small_flopscope.py"


@pytest.fixture(scope="module")
def small() -> ModuleType:
    spec = importlib.util.spec_from_file_location("a_small_flopscope", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


MODELS = ("resnet18", "mobilenet_v2", "mobilenet_v3_large", "squeezenet1_1", "shufflenet_v2_x1_0", "densenet121", "efficientnet_b0")
MODELS += ("convnext_tiny", "vit_b_16", "swin_t", "mnasnet1_0", "alexnet", "vgg11")


@pytest.mark.parametrize("name", MODELS)
def test_it_counts_what_flopscope_counts(name: str, small: ModuleType) -> None:
    with torch.device("meta"):
        model = torchvision.models.get_model(name).eval()
        image = torch.empty(1, 3, 224, 224)
    found = small.analyze(model, image)
    report = flopscope.analyze(model, "1x3x224x224")
    assert not found.unknown
    assert found.macs[""] == report.total.macs > 0
    assert found.params[""] == report.total.params > 0
    rows = report.by_module()
    assert {row.path: found.macs[row.path] for row in rows} == {row.path: row.cost.macs for row in rows}
    assert {row.path: found.params[row.path] for row in rows} == {row.path: row.cost.params for row in rows}


def test_unknown_is_not_zero(small: ModuleType) -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.inv(x) @ x

    found = small.analyze(Odd(), torch.empty(4, 4, device="meta"))
    assert sum(found.unknown.values()) >= 1
    assert found.macs[""] == 4 * 4 * 4


def test_nothing_stays_behind(small: ModuleType) -> None:
    class Raises(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("as it likes")

    from torch.nn.modules import module

    before = len(module._global_forward_pre_hooks), len(module._global_forward_hooks)
    with pytest.raises(ValueError, match="as it likes"):
        small.analyze(Raises(), torch.empty(2, device="meta"))
    assert (len(module._global_forward_pre_hooks), len(module._global_forward_hooks)) == before
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


def test_it_prints_a_tree(small: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    small.main("resnet18")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["resnet18", "11,689,512", "params", "1,814,073,344", "MACs"]
    assert not [line for line in lines if line.startswith("at least")]


def test_it_is_small() -> None:
    """What is neither narration nor blank is about a hundred lines."""
    import io
    import tokenize

    source = PATH.read_text(encoding="utf-8")
    code = set()
    skip = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.STRING)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skip:
            code.update(range(token.start[0], token.end[0] + 1))
    assert len(code) <= 115, len(code)
