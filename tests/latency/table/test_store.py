"""The file of measured times."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from flopscope.errors import OptionError
from flopscope.latency.table.setting import Setting, machine_name
from flopscope.latency.table.store import Measured, Store, Whole

HERE, THERE = Setting("a processor", "eager", "2.9.0", 1), Setting("another", "onnxruntime", "1.20", 4)
TIME = Measured(2.0, 1.5, 3.0, 9)


def test_times_are_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "times.sqlite"
    with Store(path, create=True) as store:
        store.add(HERE, [("a", TIME), ("b", Measured(0.0, 0.0, 0.0, 1))])
        store.add(THERE, [("a", Measured(7.0, 7.0, 7.0, 2))])
        store.add_whole(HERE, "net", Whole(1.0, 1.5))
    with Store(path) as store:
        assert store.times(HERE) == {"a": TIME, "b": Measured(0.0, 0.0, 0.0, 1)}
        assert store.times(Setting("a processor", "eager", "2.9.0", 2)) == {}
        assert store.settings() == [(HERE, 2), (THERE, 1)]
        assert store.wholes(HERE) == {"net": Whole(1.0, 1.5)}


def test_measuring_again_replaces(tmp_path: Path) -> None:
    with Store(tmp_path / "t", create=True) as store:
        store.add(HERE, [("a", TIME)])
        store.add(HERE, [("a", Measured(4.0, 4.0, 4.0, 1))])
        assert store.times(HERE)["a"].seconds == 4.0


def test_two_may_write_at_once(tmp_path: Path) -> None:
    with Store(tmp_path / "t", create=True) as one, Store(tmp_path / "t", create=True) as other:
        one.add(HERE, [("a", TIME)])
        other.add(HERE, [("b", TIME)])
        assert set(one.times(HERE)) == set(other.times(HERE)) == {"a", "b"}


def test_a_file_is_shared_by_merging_and_ones_own_times_stay(tmp_path: Path) -> None:
    with Store(tmp_path / "mine", create=True) as mine, Store(tmp_path / "yours", create=True) as yours:
        mine.add(HERE, [("a", TIME)])
        yours.add(HERE, [("a", Measured(9.0, 9.0, 9.0, 1)), ("b", TIME)])
        yours.add(THERE, [("a", TIME)])
        yours.add_whole(THERE, "net", Whole(1.0, 2.0))
        assert mine.merge(yours) == 2
        assert mine.times(HERE) == {"a": TIME, "b": TIME}
        assert mine.times(THERE) == {"a": TIME}
        assert mine.wholes(THERE) == {"net": Whole(1.0, 2.0)}
        assert mine.merge(yours) == 0


def test_the_newest_version_is_taken(tmp_path: Path) -> None:
    with Store(tmp_path / "t", create=True) as store:
        for version in ("2.9.1", "2.10.0", "2.8.0"):
            store.add(Setting("m", "eager", version, 1), [("a", TIME)])
        assert store.setting("eager", 1, "m").version == "2.10.0"
        with pytest.raises(OptionError, match="no times of eager with 2 threads on m"):
            store.setting("eager", 2, "m")


def test_what_is_no_table_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"there is no table of measured times at .*flopscope measure"):
        Store(tmp_path / "none")
    text = tmp_path / "text"
    text.write_text("no database at all, but a text that is long enough for a header of SQLite to be looked for in it" * 9)
    with pytest.raises(OptionError, match="cannot be used: file is not a database"):
        Store(text)
    assert text.read_text().startswith("no database")
    other = tmp_path / "other"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    for create in (False, True):
        with pytest.raises(OptionError, match="is no table of measured times that this version"):
            Store(other, create=create)


@pytest.mark.parametrize("row", [(-1.0, 0.0, 1.0), (2.0, 3.0, 4.0), ("x", 0.0, 1.0), (1e12, 1e12, 1e12)])
def test_times_that_cannot_be_are_refused(tmp_path: Path, row: tuple[object, ...]) -> None:
    path = tmp_path / "t"
    with Store(path, create=True) as store:
        store.add(HERE, [("a", TIME)])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE times SET seconds = ?, low = ?, high = ?", row)
    connection.close()
    with Store(path) as store, pytest.raises(OptionError, match="which cannot be"):
        store.times(HERE)


def test_the_machine_has_a_name() -> None:
    assert "cores" in machine_name()
    with pytest.raises(OptionError, match="the runtime 'jax'"):
        Setting.here("jax", 1)
    with pytest.raises(OptionError, match="1000000 threads"):
        Setting.here("eager", 10**6)
