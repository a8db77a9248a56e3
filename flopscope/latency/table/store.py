"""The file: measured times in SQLite, of any number of machines and runtimes."""

from __future__ import annotations

import math
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flopscope.errors import OptionError
from flopscope.latency.table.setting import Setting, machine_name

_FORMAT, _MARK = 1, 0x466C6F74
"""SQLite's ``user_version`` and ``application_id`` of these files."""
_LONGEST = 1e9
_TABLES = """
    CREATE TABLE settings (
        id INTEGER PRIMARY KEY, machine TEXT NOT NULL, runtime TEXT NOT NULL, version TEXT NOT NULL, threads INTEGER NOT NULL,
        UNIQUE (machine, runtime, version, threads));
    CREATE TABLE times (
        setting INTEGER NOT NULL REFERENCES settings (id), key TEXT NOT NULL, seconds REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL,
        runs INTEGER NOT NULL, PRIMARY KEY (setting, key)) WITHOUT ROWID;
    CREATE TABLE wholes (
        setting INTEGER NOT NULL REFERENCES settings (id), name TEXT NOT NULL, predicted REAL NOT NULL, measured REAL NOT NULL,
        PRIMARY KEY (setting, name)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """The time of an op: the median of its runs, and between what nine in ten of them lay. Seconds."""

    seconds: float
    low: float
    high: float
    runs: int


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole model that was run: the sum that the table gave for it, and what it took. Seconds."""

    predicted: float
    measured: float


class Store:
    """A file of measured times. A context manager; several processes may have it open at once."""

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        """Open a file.

        Args:
            path: where it is.
            create: whether to make it where there is none.

        Raises:
            OptionError: there is none, or it is no such file.
        """
        self.path = Path(path)
        if not create and not self.path.is_file():
            raise OptionError(f"there is no table of measured times at {self.path}; flopscope measure MODEL --table {self.path} makes one")
        with self._explained():
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=60)
            try:
                self._check(create)
            except BaseException:
                self._connection.close()
                raise

    def _check(self, create: bool) -> None:
        with self._connection as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            mark, version = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
            empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if empty and create:
                connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {_MARK}; PRAGMA user_version = {_FORMAT};")
            elif (mark, version) != (_MARK, _FORMAT):
                raise OptionError(f"{self.path} is no table of measured times that this version of flopscope reads")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise OptionError(f"the table of measured times {self.path} cannot be used: {error}") from error

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def settings(self) -> list[tuple[Setting, int]]:
        """What was measured, with the number of ops of each."""
        sql = """SELECT machine, runtime, version, threads, (SELECT count(*) FROM times WHERE setting = settings.id) FROM settings
            ORDER BY machine, runtime, version, threads"""
        return [(Setting(*row[:4]), int(row[4])) for row in self._rows(sql)]

    def setting(self, runtime: str, threads: int, machine: str | None = None) -> Setting:
        """The setting of a machine, by default of this one; of several versions, the last in the order of their numbers.

        Raises:
            OptionError: there is none.
        """
        wanted = machine if machine is not None else machine_name()
        fit = [
            setting for setting, _ in self.settings() if (setting.machine, setting.runtime, setting.threads) == (wanted, runtime, threads)
        ]
        if not fit:
            raise OptionError(
                f"{self.path} has no times of {runtime} with {threads} threads on {wanted}; flopscope tables --table {self.path} lists "
                "what it has, and flopscope measure MODEL adds to it"
            )
        return max(fit, key=lambda setting: [int(number) for number in re.findall(r"\d+", setting.version)])

    def times(self, setting: Setting) -> dict[str, Measured]:
        """The times of a setting by key.

        Raises:
            OptionError: the file is damaged.
        """
        sql = "SELECT key, seconds, low, high, runs FROM times WHERE setting = ? ORDER BY key"
        found = {str(key): Measured(*numbers) for key, *numbers in self._rows(sql, self._id(setting))}
        for key, time in found.items():
            if not _is_sound(time):
                raise OptionError(f"the table of measured times {self.path} has the time {time} for {key[:60]}, which cannot be")
        return found

    def wholes(self, setting: Setting) -> dict[str, Whole]:
        """The whole models that were run in a setting, by name."""
        sql = "SELECT name, predicted, measured FROM wholes WHERE setting = ? ORDER BY name"
        found = {str(name): Whole(*numbers) for name, *numbers in self._rows(sql, self._id(setting))}
        return {name: whole for name, whole in found.items() if _is_time(whole.predicted) and _is_time(whole.measured)}

    def add(self, setting: Setting, times: Iterable[tuple[str, Measured]]) -> None:
        """Keep times. They are on the disk when it returns.

        Raises:
            OptionError: the file cannot be written.
        """
        rows = [(key, time.seconds, time.low, time.high, time.runs) for key, time in times]
        self._put(setting, "INSERT OR REPLACE INTO times VALUES (?, ?, ?, ?, ?, ?)", rows)

    def add_whole(self, setting: Setting, name: str, whole: Whole) -> None:
        """Keep how well a sum met a whole model.

        Raises:
            OptionError: the file cannot be written.
        """
        self._put(setting, "INSERT OR REPLACE INTO wholes VALUES (?, ?, ?, ?)", [(name, whole.predicted, whole.measured)])

    def merge(self, other: Store) -> int:
        """Take over what another file has and this one lacks. Returns how many times that were.

        Raises:
            OptionError: one of the files is damaged or cannot be written.
        """
        taken = 0
        for setting, _ in other.settings():
            known = self.times(setting)
            new = [(key, time) for key, time in other.times(setting).items() if key not in known]
            self.add(setting, new)
            taken += len(new)
            missing = other.wholes(setting).keys() - self.wholes(setting).keys()
            for name in sorted(missing):
                self.add_whole(setting, name, other.wholes(setting)[name])
        return taken

    def _id(self, setting: Setting) -> int:
        sql = "SELECT id FROM settings WHERE machine = ? AND runtime = ? AND version = ? AND threads = ?"
        found = self._rows(sql, setting.machine, setting.runtime, setting.version, setting.threads)
        return int(found[0][0]) if found else -1

    def _put(self, setting: Setting, sql: str, rows: list[tuple[Any, ...]]) -> None:
        with self._explained(), self._connection as connection:
            connection.execute(
                "INSERT OR IGNORE INTO settings (machine, runtime, version, threads) VALUES (?, ?, ?, ?)",
                (setting.machine, setting.runtime, setting.version, setting.threads),
            )
            number = self._id(setting)
            connection.executemany(sql, [(number, *row) for row in rows])

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._explained():
            return self._connection.execute(sql, values).fetchall()


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= _LONGEST and math.isfinite(value)


def _is_sound(time: Measured) -> bool:
    in_order = all(_is_time(value) for value in (time.low, time.seconds, time.high)) and time.low <= time.seconds <= time.high
    return in_order and isinstance(time.runs, int)
