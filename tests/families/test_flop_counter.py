"""FlopCounterMode, which sees a real run, against the count from shapes: contractions are equal to the last multiply-accumulate.

A sample in every run; all that are listed with ``FLOPSCOPE_ALL=1``. `FAULTS` names what FlopCounterMode does not see.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import flopscope
from tests.conformance.checks import ALL

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

SAMPLE = ("mobilevit", "levit")
TYPES = (
    "beit", "bert", "bit", "camembert", "canine", "clip", "clipseg", "convbert", "convnext", "convnextv2", "cvt", "data2vec-vision",
    "deberta", "deit", "dinov2", "distilbert", "electra", "ernie", "fnet", "focalnet", "funnel", "gpt2", "groupvit", "hiera", "hubert",
    "imagegpt", "layoutlm", "levit", "longt5", "mamba", "markuplm", "mobilebert", "mobilenet_v1", "mobilenet_v2", "mobilevit",
    "mobilevitv2", "moonshine", "mpnet", "nystromformer", "openai-gpt", "opt", "poolformer", "pvt", "pvt_v2", "regnet", "resnet",
    "roberta", "roformer", "segformer", "squeezebert", "swiftformer", "swin", "swinv2", "t5", "vit", "vit_mae", "wav2vec2", "wavlm",
    "whisper", "xlm-roberta", "yoso",
)  # fmt: skip
FAULTS: dict[str, set[str]] = {}
"""By type: the kinds of op whose multiply-accumulates FlopCounterMode leaves out."""


def real(value: Any) -> Any:
    is_empty = isinstance(value, Tensor) and value.device.type == "meta"
    return torch.rand(value.shape) if is_empty else value


@pytest.mark.parametrize("name", sorted({*SAMPLE, *TYPES}) if ALL else SAMPLE)
def test_a_real_run_counts_the_same(name: str) -> None:
    loaded = flopscope.load(f"hf:{name}")
    report = flopscope.analyze(loaded.model, execute="never", **loaded.kwargs)
    model = type(loaded.model)(loaded.model.config).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(**{key: real(value) for key, value in loaded.kwargs.items()})
    unseen = sum(row.cost.macs for row in report.by_kind() if row.kind in FAULTS.get(name, ()))
    assert 2 * (report.total.macs - unseen) == counter.get_total_flops()
