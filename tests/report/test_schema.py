"""What is written as JSON keeps to its published schema, and saved reports are read back or refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from onnx import TensorProto, helper
from torch import nn

import flopscope
from flopscope.errors import OptionError, SavedError
from flopscope.report.schemas import identifier, schema, schema_text
from flopscope.report.snapshot import read_saved, snapshot

jsonschema = pytest.importorskip("jsonschema")


def _refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


def check(what: Any, text: str) -> dict[str, Any]:
    """The data of a text that keeps to the schema."""
    found: dict[str, Any] = json.loads(text, parse_constant=_refuse)
    jsonschema.Draft202012Validator(schema(what)).validate(found)
    assert found["schema"] == identifier(what)
    return found


class Masked(nn.Module):
    """Its attributes hold an infinity."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.masked_fill(x > 0, float("-inf")).softmax(-1)


class Unpriced(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.schema_test.f(x @ x.T)


_library = torch.library.Library("schema_test", "DEF")
_library.define("f(Tensor x) -> Tensor")
_library.impl("f", lambda x: x * 2, "CompositeExplicitAutograd")


def onnx_model(unknown: bool = False) -> bytes:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 16]) for name in ("x", "y")]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [16, 16], [0.0] * 256)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], name="/a/MatMul")]
    nodes.append(helper.make_node("Strange" if unknown else "Relu", ["h"], ["y"], name="/a/b/last", domain="odd" if unknown else ""))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("odd", 1)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])
    return bytes(helper.make_model(graph, opset_imports=imports).SerializeToString())


REPORTS = {
    "torchvision": lambda: flopscope.analyze(torchvision.models.mobilenet_v2(weights=None).eval(), "1x3x64x64"),
    "infinite": lambda: flopscope.analyze(Masked(), "4x4"),
    "partial": lambda: flopscope.analyze(Unpriced(), "4x4"),
    "function": lambda: flopscope.analyze(lambda x: x + 1, "3"),
    "nothing": lambda: flopscope.analyze(nn.Identity(), "3"),
    "detector": lambda: flopscope.analyze(nn.LSTM(4, 8), "3x1x4"),
    "onnx": lambda: flopscope.analyze(onnx_model()),
    "onnx, partial": lambda: flopscope.analyze(onnx_model(unknown=True)),
}


@pytest.mark.parametrize("name", REPORTS)
def test_reports_keep_to_the_schema(name: str) -> None:
    report = REPORTS[name]()
    found = check("report", report.to_json())
    assert found["total"]["macs"] == report.total.macs
    check("report", report.to_json(convention="thop", assume="w8a8"))


def test_experts_keep_to_the_schema() -> None:
    pytest.importorskip("transformers")
    settings = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 32, "vocab_size": 64, "num_attention_heads": 4}
    loaded = flopscope.load("hf:mixtral", settings | {"num_key_value_heads": 4})
    found = check("report", flopscope.analyze(loaded.model, *loaded.args, **loaded.kwargs).to_json())
    assert found["experts"]["mixtures"]


def test_a_new_key_breaks_the_schema() -> None:
    """Wherever it is added: who adds one must publish it."""
    report = REPORTS["partial"]().to_dict()
    validator = jsonschema.Draft202012Validator(schema("report"))

    def places(value: Any) -> Any:
        if isinstance(value, dict):
            yield value
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from places(item)

    free = [op["attributes"] for op in report["ops"]]  # these belong to the ops
    tried = 0
    for place in list(places(report)):
        if any(place is one for one in free):
            continue
        place["added"] = 1
        assert not validator.is_valid(report)
        del place["added"]
        tried += 1
    assert tried > 10
    validator.validate(report)


@pytest.mark.parametrize("what", ["report", "diff", "check"])
def test_schemas_are_sound_and_closed(what: Any) -> None:
    found = schema(what)
    jsonschema.Draft202012Validator.check_schema(found)

    def objects(value: Any) -> Any:
        if isinstance(value, dict):
            if value.get("type") == "object" and "properties" in value:
                yield value
            for item in value.values():
                yield from objects(item)
        elif isinstance(value, list):
            for item in value:
                yield from objects(item)

    assert all(one["additionalProperties"] is False for one in objects(found))
    assert schema_text(what).endswith("}\n")


def test_there_is_no_other_schema() -> None:
    with pytest.raises(OptionError, match="there is no schema of 'poem'; choose one of report, diff, check"):
        schema("poem")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", REPORTS)
def test_saved_reports_are_read_back(name: str, tmp_path: Path) -> None:
    report = REPORTS[name]()
    path = tmp_path / "report.json"
    path.write_text(report.to_json())
    assert read_saved(path) == snapshot(report)
    assert read_saved(path).total == report.total


def test_what_modules_add_themselves_adds_up() -> None:
    found = snapshot(REPORTS["torchvision"]())
    for metric in ("macs", "flops", "access_bytes", "params"):
        own = found.own(metric)
        assert sum(own.values()) == found.count(metric)
        assert min(own.values()) >= 0
    assert sum(found.own("peak_bytes").values()) == found.peak_bytes


def _without(key: str) -> Any:
    return lambda facts: facts.pop(key)


DAMAGE = {
    "no total": (_without("total"), "'total' is missing, where a table belongs"),
    "no modules": (_without("modules"), "'modules' is missing, where a list belongs"),
    "text for a number": (lambda facts: facts["total"].update(macs="64"), "'macs' is '64', where a whole number belongs"),
    "a fraction": (lambda facts: facts["total"].update(macs=6.5), "'macs' is 6.5, where a whole number belongs"),
    "a truth": (lambda facts: facts["total"].update(macs=True), "'macs' is True, where a whole number belongs"),
    "below zero": (lambda facts: facts["total"].update(flops=-1), "'flops' is -1, and no count is below zero"),
    "a module twice": (lambda facts: facts["modules"].append(facts["modules"][0]), "the module '' is in it twice"),
    "a row of text": (lambda facts: facts["modules"].append("x"), "'module' is missing"),
    "old": (lambda facts: facts.update(schema="flopscope.report/0"), "is of the schema flopscope.report/0, and this flopscope"),
    "a diff": (lambda facts: facts.update(schema="flopscope.diff/1"), "is a diff of flopscope, and a report is needed"),
    "foreign": (_without("schema"), "is JSON, but no report of flopscope"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_reports_are_refused(name: str, tmp_path: Path) -> None:
    facts = flopscope.analyze(nn.Linear(8, 4), "2x8").to_dict()
    damage, message = DAMAGE[name]
    damage(facts)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(SavedError) as caught:
        read_saved(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged, or no JSON"),
        (b"{", "is damaged, or no JSON"),
        (b'{"a": NaN}', "NaN is no number in JSON"),
        (b"[" * 100_000, "is damaged, or no JSON"),
        (b"[]", "is JSON, but no report of flopscope"),
        (b"3", "is JSON, but no report of flopscope"),
        (b"\xff\xfe\x00", "it is not text in UTF-8"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(SavedError, match=message):
        read_saved(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SavedError, match=r"cannot read .*none\.json: No such file"):
        read_saved(tmp_path / "none.json")
    with pytest.raises(SavedError, match="Is a directory"):
        read_saved(tmp_path)
