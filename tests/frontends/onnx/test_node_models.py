"""ONNX's own node models: every shape, every element type and every contraction, and a table without gaps.

A sample of the models, or all with ``FLOPSCOPE_ALL=1``.
"""

from __future__ import annotations

import pytest

from flopscope.frontends.onnx import control, flex_attention, sequences
from flopscope.frontends.onnx.ops import known_ops
from flopscope.frontends.onnx.uncounted import UNCOUNTED
from tests.conformance import contractions_by_hand
from tests.conformance.checks import ALL
from tests.conformance.node_models import cases, faults

pytestmark = pytest.mark.filterwarnings("ignore")
STEP = 1 if ALL else 13


def test_shapes_and_prices() -> None:
    found = [fault for case in list(cases().values())[::STEP] for fault in faults(case)]
    assert not found, "\n".join(found)


def test_contractions() -> None:
    counted = 0
    for case in list(cases().values())[:: 1 if ALL else 4]:
        if not contractions_by_hand.has_any(case.model):
            continue
        counted += 1
        expected, got = contractions_by_hand.macs_of(case), contractions_by_hand.reported(case)
        assert got == expected, f"{case.name}: {got} multiply-accumulates were reported, where loops count {expected}"
    assert counted >= (250 if ALL else 50)


def test_only_contractions_have_macs() -> None:
    for case in list(cases().values())[::STEP]:
        if not contractions_by_hand.has_any(case.model):
            assert contractions_by_hand.reported(case) == [0] * len(case.data_sets), case.name


def test_every_op_that_onnx_defines_is_known() -> None:
    from onnx import defs

    known = set(known_ops()) | {("", op) for op in ("Loop", *control.handled_ops(), *sequences.handled_ops())}
    known.add((flex_attention.DOMAIN, flex_attention.OP))
    defined = {(schema.domain, schema.name) for schema in defs.get_all_schemas_with_history()} - {("", "Constant")}
    named = {(domain, op) for domain, op in defined if f"{domain or 'ai.onnx'}::{op}" in UNCOUNTED}
    assert not defined - known - named
    assert not known & named, "an op that has a price is listed as one without"
    assert len(named) == len(UNCOUNTED), "the list of ops without a price names one that ONNX does not define"
