"""``flopscope fit``, and ``--batch`` for models of every source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flopscope.cli.main import main


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


def found(*arguments: str) -> dict[str, Any]:
    result = run("fit", *arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.output)
    return answer


def peak(command: str, *arguments: str) -> int:
    """What another command says the model holds at one size."""
    result = run(command, *arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.output)
    return int(facts["memory"]["peak_bytes"] if command == "train" else facts["total_bytes"])


@pytest.mark.parametrize("train", [False, True], ids=["inference", "training"])
def test_the_answer_fits_and_the_next_does_not(train: bool) -> None:
    options = ["--train", "--optimizer", "adamw"] if train else []
    answer = found("torchvision:squeezenet1_1", "--memory", "1GiB", "--reserve", "10MiB", *options)
    command, more = ("train", ["--optimizer", "adamw"]) if train else ("memory", [])
    at, beyond = (peak(command, "torchvision:squeezenet1_1", "--batch", str(answer["size"] + step), *more) for step in (0, 1))
    assert at == answer["peak_bytes"] <= 2**30 - 10 * 2**20 < beyond == answer["next_bytes"]
    assert answer["by_formula"]
    assert sum(piece["bytes"] for piece in answer["alive"]) + answer["constant_bytes"] == at


def test_the_sequence_of_a_language_model_ends_with_its_positions() -> None:
    pytest.importorskip("transformers")
    options = ["--set", "n_layer=2", "--set", "n_embd=64", "--set", "n_head=4", "--set", "vocab_size=100", "--over", "sequence"]
    answer = found("hf:gpt2", "--memory", "1GB", *options)
    assert answer["size"] == 1024
    assert "1024 rows" in answer["refusal"]
    small = found("hf:gpt2", "--memory", "1200KB", *options)
    assert small["size"] is not None
    assert small["by_formula"]
    assert small["peak_bytes"] <= 1_200_000 < small["next_bytes"]


def test_a_phase_of_generation() -> None:
    pytest.importorskip("transformers")
    options = ["--set", "num_hidden_layers=2", "--set", "hidden_size=64", "--set", "intermediate_size=64", "--set", "vocab_size=100"]
    answer = found("hf:llama", "--phase", "decode", "--context", "256", "--memory", "50MB", *options)
    # Two caches of 257 keys and values of 64 numbers in float32, for each sequence, and what one token takes.
    assert answer["size"] is not None
    assert answer["next_bytes"] - answer["peak_bytes"] >= 2 * 2 * 257 * 64 * 4


def test_resolutions_are_multiples_of_32() -> None:
    answer = found("torchvision:squeezenet1_1", "--memory", "100MB", "--over", "resolution")
    assert answer["size"] % 32 == 0
    assert answer["next_bytes"] > 100_000_000 >= answer["peak_bytes"]


def test_a_dimension_of_an_onnx_model(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Sigmoid", ["y"], ["z"])]
    inputs, outputs = (helper.make_tensor_value_info(name, kind, ["N", 100]) for name in "xz")
    onnx.save(helper.make_model(helper.make_graph(nodes, "small", [inputs], [outputs])), tmp_path / "small.onnx")
    answer = found(str(tmp_path / "small.onnx"), "--memory", "1MB", "--over", "N")
    assert answer["size"] == 833  # x, y and z of 400 bytes each for every row
    assert (answer["peak_bytes"], answer["next_bytes"]) == (833 * 1200, 834 * 1200)
    refused = run("fit", str(tmp_path / "small.onnx"), "--memory", "1MB")
    assert refused.exit_code == 2
    assert "batch" in refused.output
    trained = run("fit", str(tmp_path / "small.onnx"), "--memory", "1MB", "--over", "N", "--train")
    assert "fit the training of the PyTorch model" in trained.output


def test_the_text_says_it_all() -> None:
    text = run("fit", "torchvision:squeezenet1_1", "--memory", "1GB").output
    assert "torchvision:squeezenet1_1: batch " in text
    assert "is the largest that fits into 954 MiB (1.000 GB)" in text
    assert "too much" in text
    assert "peak = 4.71 MiB + " in text
    assert "MiB x batch" in text
    nothing = run("fit", "torchvision:squeezenet1_1", "--memory", "5MB")
    assert nothing.exit_code == 0
    assert "does not fit into 4.77 MiB (5.000 MB): even batch 1 needs" in nothing.output
    capped = run("fit", "torchvision:squeezenet1_1", "--memory", "1TB", "--most", "16")
    assert "batch 16, the largest that was asked for, fits" in capped.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--memory", "lots"], "--memory: 'lots' is no number of bytes"),
        (["--memory", "1GB", "--reserve", "2GB"], "--reserve 2GB keeps back all of --memory 1GB"),
        (["--memory", "1GB", "--over", "width"], "'width' is nothing that can grow: choose batch, sequence, resolution, or NAME:DIM"),
        (["--memory", "1GB", "--over", "sequence"], "the model has no sequence input"),
        (["--memory", "1GB", "--over", "nope:1"], "names the input 'nope'"),
        (["--memory", "1GB", "--batch", "4"], "fit looks for the batch, but --batch 4 gives it"),
        (["--memory", "1GB", "--over", "resolution", "--most", "16"], "--most 16 is less than one --step 32"),
    ],
)
def test_what_cannot_be_is_said(arguments: list[str], said: str) -> None:
    result = run("fit", "torchvision:squeezenet1_1", *arguments)
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize(("option", "text"), [("--memory", "24G"), ("--memory", "GB"), ("--memory", "-1GB"), ("--reserve", "1XB")])
def test_amounts_that_cannot_be_read_name_the_option(option: str, text: str) -> None:
    result = run("fit", "torchvision:squeezenet1_1", *(() if option == "--memory" else ("--memory", "1GB")), option, text)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"flopscope: {option}: {text!r}")


@pytest.mark.parametrize("spec", ["torchvision:squeezenet1_1", "timm:resnet18", "hf:bert"])
def test_a_batch_of_every_source(spec: str) -> None:
    package = {"timm": "timm", "hf": "transformers"}.get(spec.partition(":")[0], "torchvision")
    pytest.importorskip(package)
    one, five = (json.loads(run("analyze", spec, "--batch", str(size), "--format", "json").output) for size in (1, 5))
    assert five["total"]["macs"] == 5 * one["total"]["macs"]
    assert five["total"]["params"] == one["total"]["params"]


def test_a_batch_beside_shapes() -> None:
    plain, given = (
        json.loads(run("analyze", "torchvision:squeezenet1_1", "--format", "json", *more).output)
        for more in (["--input", "4x3x96x96"], ["--input", "1x3x96x96", "--batch", "4"])
    )
    assert plain["total"] == given["total"]
    both = run("analyze", "torchvision:squeezenet1_1", "--input", "2x3x96x96", "--batch", "4")
    assert both.exit_code == 2
    assert "name two batches" in both.output


def test_a_batch_of_a_detector_is_a_list() -> None:
    two = run("analyze", "torchvision:ssdlite320_mobilenet_v3_large", "--batch", "2", "--format", "json")
    one = run("analyze", "torchvision:ssdlite320_mobilenet_v3_large", "--format", "json")
    assert json.loads(two.output)["total"]["macs"] == 2 * json.loads(one.output)["total"]["macs"]
