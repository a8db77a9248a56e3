"""Models of other libraries from their configs, and models as users write them. Libraries that are not installed are skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import flopscope

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


def built(make: Any) -> nn.Module:
    with flopscope.building():
        model: nn.Module = make()
    return model.eval()


# -- diffusion ------------------------------------------------------------------------------------------------


def test_stable_diffusion_1_5() -> None:
    diffusers = pytest.importorskip("diffusers")
    unet = built(lambda: diffusers.UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8))
    report = flopscope.analyze(unet, "1x4x64x64", torch.tensor([1]), "1x77x768", execute="never")
    assert report.total.params == 859_520_964  # as its authors' checkpoint
    assert report.uncounted == []
    first = next(row for row in report.ops if row.scope == "conv_in")
    assert first.cost.macs == 64 * 64 * 320 * 4 * 9
    crossing = [row for row in report.ops if row.scope.endswith("attn2.to_k")]
    assert sum(row.cost.macs for row in crossing) == 77 * 768 * (5 * 320 + 5 * 640 + 5 * 1280 + 1280)  # 2 blocks down, 3 up, the middle


def test_dit_xl_2_as_published() -> None:
    diffusers = pytest.importorskip("diffusers")
    model = built(lambda: diffusers.DiTTransformer2DModel(num_attention_heads=16, attention_head_dim=72, sample_size=32))
    report = flopscope.analyze(model, "1x4x32x32", timestep=torch.tensor([1]), class_labels=torch.tensor([1]), execute="never")
    width, tokens = 1152, 256
    layer = tokens * 12 * width**2 + 2 * tokens**2 * width + 6 * width**2
    assert 28 * layer == pytest.approx(118.64e9, rel=2e-3)  # arXiv:2212.09748, table 9, whose Gflops are multiply-adds
    assert 28 * layer < report.total.macs < 28 * layer * 1.002
    assert report.uncounted == []


def test_flux() -> None:
    diffusers = pytest.importorskip("diffusers")
    model = built(lambda: diffusers.FluxTransformer2DModel(guidance_embeds=True))
    report = flopscope.analyze(
        model, hidden_states="1x4096x64", encoder_hidden_states="1x512x4096", pooled_projections="1x768", timestep=torch.tensor([1.0]),
        img_ids="4096x3", txt_ids="512x3", guidance=torch.tensor([1.0]), execute="never",
    )  # fmt: skip
    assert report.total.params == 11_901_408_320  # the 12 billion of its name
    width, image, text = 3072, 4096, 512
    tokens = image + text
    attend = 2 * tokens**2 * width
    double = 12 * tokens * width**2 + attend  # both streams: q, k, v, o and an MLP four times as wide
    single = 12 * tokens * width**2 + attend
    assert 19 * double + 38 * single < report.total.macs < 1.001 * (19 * double + 38 * single)
    assert report.uncounted == []


def test_an_autoencoder_of_images() -> None:
    diffusers = pytest.importorskip("diffusers")
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    model = built(lambda: diffusers.AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, **blocks))
    report = flopscope.analyze(model, "1x3x64x64", execute="never")
    assert report.total.params == 83_653_863  # the autoencoder of Stable Diffusion
    assert report.uncounted == []


# -- sound ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wav2vec2", "hubert"])
def test_speech_encoders(name: str) -> None:
    pytest.importorskip("transformers")
    loaded = flopscope.load(f"hf:{name}")
    report = flopscope.analyze(loaded.model, execute="never", **loaded.kwargs)
    length, channels, macs = 16000, 1, 0
    for kernel, stride in ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)):
        length = (length - kernel) // stride + 1
        macs += length * 512 * channels * kernel
        channels = 512
    width = 768
    macs += length * 512 * width  # projection
    macs += (length + 1) * width * (width // 16) * 128  # convolution for positions: even kernel, one position too many
    macs += 12 * (length * 12 * width**2 + 2 * length**2 * width)
    assert report.total.macs == macs


# -- graphs ---------------------------------------------------------------------------------------------------

GRAPHS = """
import torch
from torch_geometric.nn import GAT, GCN
nodes = torch.randn(100, 16)
edges = torch.stack([torch.arange(400) % 100, torch.arange(400) * 7 % 99])
def gcn(): return GCN(16, 32, 2, 7).eval(), nodes, edges
def gat(): return GAT(16, 32, 2, 7, heads=4).eval(), nodes, edges
"""


def test_graph_networks_read_their_edges(tmp_path: Path) -> None:
    pytest.importorskip("torch_geometric")
    file = tmp_path / "graphs.py"
    file.write_text(GRAPHS)
    expected = {"gcn": 100 * 16 * 32 + 100 * 32 * 7, "gat": 100 * 16 * (4 * 8) + 100 * 32 * (4 * 7)}
    for name, macs in expected.items():
        loaded = flopscope.load(f"{file}:{name}")
        report = flopscope.analyze(loaded.model, *loaded.args, execute="never")
        assert report.total.macs == macs, name
        assert report.uncounted == []
        messages = [row for row in report.ops if row.kind == "index_select" and row.outputs[0][-1] != 1]
        loops = 100  # every node also hears itself
        assert {row.outputs[0][0] for row in messages} <= {loops + kept for kept in range(390, 401)}, name


# -- as users write them ----------------------------------------------------------------------------------------


class Recommender(nn.Module):
    """A DLRM: dense features through an MLP, sparse ones through tables, dot products between all of them, an MLP on top."""

    def __init__(self, tables: int = 26, rows: int = 1000, width: int = 64) -> None:
        super().__init__()
        self.bottom = nn.Sequential(nn.Linear(13, 512), nn.ReLU(), nn.Linear(512, width), nn.ReLU())
        self.tables = nn.ModuleList(nn.EmbeddingBag(rows, width, mode="sum") for _ in range(tables))
        self.top = nn.Sequential(nn.Linear(width + (tables + 1) * tables // 2, 512), nn.ReLU(), nn.Linear(512, 1))

    def forward(self, dense: Tensor, sparse: list[Tensor]) -> Tensor:
        x = self.bottom(dense)
        every = torch.stack([x, *(table(ids) for table, ids in zip(self.tables, sparse, strict=True))], 1)
        dots = every @ every.mT
        row, column = torch.tril_indices(every.shape[1], every.shape[1], -1)
        return torch.sigmoid(self.top(torch.cat([x, dots[:, row, column]], 1)))


def test_a_recommender() -> None:
    sparse = [torch.randint(1000, (32, 5)) for _ in range(26)]
    report = flopscope.analyze(Recommender(), "32x13", sparse, execute="never")
    top = 64 + 27 * 26 // 2
    assert report.total.macs == 32 * (13 * 512 + 512 * 64 + 27 * 27 * 64 + top * 512 + 512)
    assert report.total.params == 26 * 1000 * 64 + 14 * 512 + 513 * 64 + (top + 1) * 512 + 513
    assert report.uncounted == []


class EarlyExit(nn.Module):
    """Stops where it is sure: control flow in Python on shapes, on arguments and on data."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor, threshold: float | None = None) -> Tensor:
        if x.dim() == 1:
            x = x[None]
        depth = 0
        while depth < len(self.layers):
            x = torch.relu(self.layers[depth](x))
            depth += 1
            if threshold is not None and self.head(x).softmax(-1).amax() > threshold:
                break
        return self.head(x)


def test_control_flow() -> None:
    model = EarlyExit()
    whole = flopscope.analyze(model, "8", execute="never")
    assert whole.total.macs == 4 * 64 + 16
    assert whole.notes == []
    stopped = flopscope.analyze(model, "5x8", threshold=0.0)
    assert stopped.total.macs == 5 * (64 + 16 + 16)
    assert any("cost depends on data" in note for note in stopped.notes)
