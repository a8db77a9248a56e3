"""Calibration finds ceilings that made the times; and what is shipped tells published times."""

import math
from dataclasses import replace

import numpy
import pytest

import flopscope
from flopscope.errors import OptionError
from flopscope.latency.ceilings import assumed, known
from flopscope.latency.device import device
from flopscope.latency.families import CONTRACTIONS, FAMILIES
from flopscope.latency.fitting import Work, calibrated, predicted
from flopscope.latency.kernels import Kernel
from flopscope.latency.roofline import Roofline
from tests.latency.devices import FULL, PLAIN

TRUE = replace(
    FULL,
    compute=dict(zip(CONTRACTIONS, (0.9, 0.7, 0.1, 0.3, 0.8, 0.2), strict=True)),
    bandwidth={family: 0.4 + 0.05 * place for place, family in enumerate(FAMILIES)},
    launch_seconds=2e-5,
    overlap=0.6,
)


def made_up_models(count, random):
    models = []
    for _ in range(count):
        size = 10 ** random.uniform(-2, 1)
        kernels = []
        for family in random.choice(FAMILIES, 30):
            flops = int(size * 10 ** random.uniform(7, 9.5)) if family in CONTRACTIONS else 0
            kernels.append(Kernel((), str(family), "float32", flops, 1000, int(size * 10 ** random.uniform(5, 7.5)), 0))
        models.append(kernels)
    return models


def seconds_of(models, ceilings):
    roofline = Roofline(PLAIN, ceilings)
    return numpy.array([sum(roofline.time(kernel).seconds for kernel in kernels) for kernels in models])


def test_the_arrays_say_what_the_roofline_says():
    models = made_up_models(20, numpy.random.default_rng(0))
    for ceilings in (TRUE, assumed(PLAIN), replace(TRUE, overlap=0.0)):
        numpy.testing.assert_allclose(predicted(Work.of(PLAIN, models), ceilings), seconds_of(models, ceilings), rtol=1e-6)


def test_times_that_were_made_by_ceilings_are_told_again():
    random = numpy.random.default_rng(1)
    models = made_up_models(160, random)
    real = seconds_of(models, TRUE) * random.lognormal(0, 0.05, len(models))
    work = Work.of(PLAIN, models)
    found = calibrated(PLAIN, work.only(range(80)), real[:80].tolist(), "made up")
    errors = numpy.abs(numpy.log(predicted(work, found) / real))[80:]
    before = numpy.abs(numpy.log(predicted(work, assumed(PLAIN)) / real))[80:]
    assert numpy.median(errors) < 0.08 < numpy.median(before) / 2
    assert numpy.mean(errors <= math.log(found.factor)) >= 0.8  # nine in ten are meant
    assert found.calibrated
    assert found.why == "made up"
    assert found.launch_seconds == pytest.approx(TRUE.launch_seconds, rel=0.3)
    assert max(found.bandwidth.values()) <= 1


def test_relatives_are_left_out_together():
    # Two of the three families are slower or faster than the ceilings say, which only their relatives tell.
    random = numpy.random.default_rng(4)
    models = made_up_models(60, random)
    real = seconds_of(models, TRUE) * numpy.repeat([1.0, 3.0, 0.5], 20)
    work = Work.of(PLAIN, models)
    alone = calibrated(PLAIN, work, real.tolist(), "")
    together = calibrated(PLAIN, work, real.tolist(), "", relatives=["a"] * 20 + ["b"] * 20 + ["c"] * 20)
    assert together.factor > alone.factor
    assert together.compute == alone.compute


def test_large_batches_do_not_tell_the_overhead_of_launches():
    random = numpy.random.default_rng(3)
    models = made_up_models(40, random)
    told = calibrated(PLAIN, Work.of(PLAIN, models), seconds_of(models, TRUE).tolist(), "")
    assert told.launch_factor == told.factor
    large = [[replace(kernel, memory_bytes=kernel.memory_bytes * 1000) for kernel in kernels] for kernels in models]
    found = calibrated(PLAIN, Work.of(PLAIN, large), seconds_of(large, TRUE).tolist(), "")
    assert found.launch_factor == assumed(PLAIN).launch_factor > found.factor


def test_too_few_models_or_times_that_are_none():
    work = Work.of(PLAIN, made_up_models(9, numpy.random.default_rng(2)))
    with pytest.raises(OptionError, match="ten models or more"):
        calibrated(PLAIN, work, [1.0] * 9, "")
    work = Work.of(PLAIN, made_up_models(10, numpy.random.default_rng(2)))
    with pytest.raises(OptionError, match="positive time"):
        calibrated(PLAIN, work, [1.0] * 9 + [0.0], "")


def test_shipped_ceilings_belong_to_one_way_to_use_a_device():
    on = device("rtx4090")
    assert known(on, "eager", "float16").calibrated
    assert not known(on, "eager", None).calibrated
    assert not known(device("h100"), "eager", "float16").calibrated
    assert not known(replace(on, bandwidth_bytes_per_second=1e12), "eager", "float16").calibrated  # another device of the same name


@pytest.mark.parametrize(
    ("name", "table", "runtime", "amp"),
    [
        ("rtx4090", "timm-amp-nchw-pt240-cu124-rtx4090", "eager", "float16"),
        ("i9-10940x", "timm-fp32-nchw-pt240-cpu-i9_10940x-dynamo", "compile", None),
    ],
)
def test_published_times_are_within_the_bar(data, name, table, runtime, amp):
    timm = pytest.importorskip("timm")
    from benchmarks.latency import read_table

    rows = {row.key[:2]: row for row in read_table(table)}
    inside = []
    for model, size in (("resnet50", 224), ("mobilenetv2_100", 224), ("deit_tiny_patch16_224", 224), ("regnety_016", 224)):
        row = rows[model, size]
        with flopscope.building():
            built = timm.create_model(model).eval()
        told = flopscope.analyze(built, f"{row.batch}x3x{size}x{size}").latency(name, runtime=runtime, amp=amp).total
        inside.append(told.low <= row.seconds <= told.high)
    assert sum(inside) >= 3
