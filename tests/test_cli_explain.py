"""``explain``, ``why``, ``doctor``, ``conventions`` and ``--convention`` on the command line."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from flopscope.cli.main import main

ALEXNET = 714_188_480


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_explain_a_convention() -> None:
    result = run("explain", "torchvision:alexnet", "--vs", "thop", "--format", "json")
    found = json.loads(result.stdout)
    assert (found["start"], found["count"]) == (ALEXNET, ALEXNET + 2 * 256 * 36)  # an adaptive pooling that keeps the size
    assert [row["kind"] for row in found["differences"]] == ["adaptive_avg_pool"]


def test_explain_a_number() -> None:
    result = run("explain", "torchvision:alexnet", "--vs", "1.43G")
    assert result.exit_code == 0
    assert "contraction, times 2" in result.stdout


def test_explain_a_number_by_another_size() -> None:
    result = run("explain", "torchvision:mobilenet_v2", "--vs", "220319000", "-i", "1x3x224x224")
    assert result.exit_code == 0
    assert "none of" in result.stdout
    assert "1x3x192x192" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("explain", "torchvision:alexnet", "--vs", "fvcor"), "neither a convention nor a number"),
        (("why", "torchvision:alexnet", "features.00"), "Did you mean features.0"),
        (("analyze", "torchvision:alexnet", "--convention", "x"), "there is no convention 'x'"),
        (("compare", "torchvision:alexnet", "--convention", "x"), "there is no convention 'x'"),
    ],
)
def test_messages(arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_why() -> None:
    result = run("why", "torchvision:alexnet", "features.0")
    assert "= 1*64*55*55 * 3*11*11 = 70,276,800" in result.stdout


def test_doctor() -> None:
    result = run("doctor", "torchvision:alexnet")
    assert "every op is counted" in result.stdout


def test_conventions() -> None:
    names = [line.partition(" ")[0] for line in run("conventions").stdout.splitlines() if not line.startswith(" ")]
    assert {"contraction", "paper", "fvcore", "thop", "ptflops", "torch", "torchinfo", "deepspeed", "calflops", "full"} <= set(names)


@pytest.mark.parametrize("style", ["table", "markdown", "csv", "json"])
def test_a_column(style: str) -> None:
    analyzed = run("analyze", "torchvision:alexnet", "--convention", "thop", "--format", style, "--exact").stdout
    compared = run("compare", "torchvision:alexnet", "--convention", "thop", "--format", style, "--exact").stdout
    count = ALEXNET + 2 * 256 * 36
    for text in (analyzed, compared):
        assert "thop" in text
        assert f"{count:,}" in text or str(count) in text
