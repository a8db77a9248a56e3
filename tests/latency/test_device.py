"""Devices as data: those that are known, and files of one's own."""

import tomllib
from importlib import resources

import pytest

from flopscope.errors import OptionError
from flopscope.latency.device import device, device_names, parse_device

SMALL = """
title = "Mine"
kind = "cpu"
[sources]
sheet = "the datasheet of mine, page 3"
[bandwidth_bytes_per_second]
value = 50e9
source = "sheet"
[peak_flops.float32]
value = 1e12
source = "a guess"
"""


def test_every_known_device_is_complete():
    assert {"rtx3090", "rtx4090", "h100", "h200", "a100-40", "a100-80", "v100", "t4", "l4", "i9-10940x", "m2", "pixel1"} <= set(
        device_names()
    )
    for name in device_names():
        found = device(name)
        assert found.peak("float32") > 1e9
        assert found.peak("float16") >= found.peak("float32")
        assert 1e10 < found.bandwidth_bytes_per_second < 1e13
        assert found.title
        assert found.kind in ("gpu", "cpu", "phone")
        assert 0.3 < found.peak("float16") / found.bandwidth_bytes_per_second < 1000  # FLOPs per byte at the knee


def test_every_number_has_a_source():
    for name in device_names():
        data = tomllib.loads((resources.files("flopscope.latency") / "devices" / f"{name}.toml").read_text())
        listed = set(data["sources"])
        used = set()
        for key, table in data.items():
            if key in ("title", "kind", "sources"):
                continue
            for name_of, entry in {"": table}.items() if "value" in table else table.items():
                told = device(name).sources[f"{key}.{name_of}" if name_of else key]
                assert len(told) > 9, told
                used.add(entry["source"])
        assert used == listed, f"{name}: sources that nothing uses, or that are not listed"


def test_published_ratios():
    # The A100 whitepaper: 16 bits are 16 times float32. The two A100 differ in their memory alone. H200 is H100 with 4.8 TB/s.
    a100 = device("a100-40")
    assert a100.peak("bfloat16") == 16 * a100.peak("float32")
    assert device("a100-80").peak_flops == a100.peak_flops
    assert device("h200").peak_flops == device("h100").peak_flops
    assert device("h200").bandwidth_bytes_per_second == 4.8e12
    assert device("i9-10940x").peak("float32") == pytest.approx(14 * 3.3e9 * 2 * 16 * 2)


def test_a_file_of_ones_own(tmp_path):
    (tmp_path / "my.toml").write_text(SMALL)
    found = device(tmp_path / "my.toml")
    assert (found.name, found.title, found.peak("float32"), found.bandwidth_bytes_per_second) == ("my", "Mine", 1e12, 50e9)
    assert found.sources["bandwidth_bytes_per_second"] == "the datasheet of mine, page 3"
    assert found.sources["peak_flops.float32"] == "a guess"
    assert found.sources["launch_seconds"].startswith("assumed")


def test_a_dtype_without_a_rate_takes_the_next_wider_one():
    found = parse_device(SMALL, "mine", "mine.toml")
    assert found.peak("float8_e4m3fn") == found.peak("bfloat16") == found.peak("int64") == found.peak("float32")
    l4 = device("l4")
    assert l4.peak("float8_e4m3fn") == l4.peak_flops["float8"]
    assert device("v100").peak("bfloat16") == device("v100").peak("float16")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = ", "is no TOML"),
        (SMALL.replace("50e9", "-1"), "positive number"),
        (SMALL.replace("50e9", "inf"), "positive number"),
        (SMALL.replace("50e9", "true"), "positive number"),
        (SMALL.replace("50e9", "'fast'"), "positive number"),
        (SMALL.replace('"a guess"', '""'), "no source for peak_flops.float32"),
        (SMALL.replace('source = "a guess"', ""), "a value and a source"),
        (SMALL.replace('kind = "cpu"', 'kind = "abacus"'), "'abacus'"),
        (SMALL.replace('kind = "cpu"', ""), "kind"),
        (SMALL.replace("peak_flops.float32", "peek_flops.float32"), "'peek_flops'"),
        (SMALL.replace("peak_flops.float32", "peak_flops"), "a table for each dtype"),
        (SMALL.replace("[bandwidth_bytes_per_second]", "[cache_bytes]"), "lacks bandwidth_bytes_per_second"),
        ('kind = "cpu"\nbandwidth_bytes_per_second = 1e9', "a value and a source"),
        (SMALL + '[picojoules_per_byte.tape]\nvalue = 1\nsource = "x"', "'tape'"),
        ("", "kind"),
    ],
)
def test_bad_files_say_what_is_wrong(text, said):
    with pytest.raises(OptionError, match=r"bad\.toml") as caught:
        parse_device(text, "bad", "bad.toml")
    assert said in str(caught.value)
    assert "Write it as" in str(caught.value)


def test_unknown_names_and_unreadable_files(tmp_path):
    with pytest.raises(OptionError, match="did you mean rtx4090"):
        device("RTX-4090")
    with pytest.raises(OptionError, match="No such file"):
        device(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match="cannot be read"):
        device(tmp_path / "binary.toml")
