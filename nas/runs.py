"""A run is a folder, and a run that is killed at any moment goes on as if it had not been.

| file | what |
|---|---|
| recipe.toml | the recipe as used |
| run.json | what kind of run, what it is about |
| environment.json | versions, machine, images |
| events.jsonl | a line for each epoch |
| checkpoint.pt | where to go on |
| genotype.json, result.json | what came out |
| report.md, *.png | for people |
| tensorboard/ | the events, where TensorBoard is installed |

Files are written whole: to a temporary name, flushed, and renamed. Events carry their epoch, so those after the last checkpoint are
dropped when a run goes on. What is read is checked: anything may have happened to a folder since.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch

from nas.checked import ADVICE, checked, first_line
from nas.data import ImageData
from nas.environment import Images, environment, with_whole_paths
from nas.errors import RunError
from nas.genotype import Genotype
from nas.recipe import Recipe, load

CHECKPOINT, EVENTS, RECIPE = "checkpoint.pt", "events.jsonl", "recipe.toml"
ABOUT, ENVIRONMENT, GENOTYPE, RESULT, REPORT = "run.json", "environment.json", "genotype.json", "result.json", "report.md"
FILES = (RECIPE, ABOUT, ENVIRONMENT, EVENTS, CHECKPOINT, GENOTYPE, RESULT, REPORT)


class Run:
    """A folder of one search or training.

    Args:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._board: Any = None

    @classmethod
    def create(
        cls, folder: Path, kind: str, recipe: Recipe, data: ImageData, about: Mapping[str, Any], genotype: Genotype | None = None
    ) -> Run:
        """Make a new folder.

        Args:
            folder: where.
            kind: ``"search"`` or ``"train"``.
            recipe: its settings.
            data: its images.
            about: what it is about; for a training the ``network`` and its ``label``.
            genotype: the cells of the network that is trained, if it has any.

        Raises:
            RunError: there is a run already, or the folder cannot be made.
        """
        cls.vacant(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the run folder {folder}: {error.strerror or error}") from error
        run = cls(folder)
        run.write_json(ENVIRONMENT, environment(data))
        run.write_json(ABOUT, {"kind": kind, **about, **({} if genotype is None else {"cells": True})})
        if genotype is not None:
            run.write_json(GENOTYPE, genotype.to_dict())
        run.write_text(RECIPE, with_whole_paths(recipe).to_toml())  # last: where it is, the folder is complete
        return run

    @staticmethod
    def vacant(folder: Path) -> Path:
        """The folder, if a new run can be made there.

        Raises:
            RunError: it holds one already, or files of one.
        """
        found = [name for name in FILES if (folder / name).exists()]
        if RECIPE in found:
            raise RunError(f"{folder} holds a run already; go on with it with --resume {folder}, or give another folder with --out")
        if found:
            raise RunError(
                f"{folder} holds no whole run, but {', '.join(found)}, as a run leaves that was killed while it began. Remove what is "
                "not needed, or give another folder with --out"
            )
        return folder

    @staticmethod
    def is_at(folder: Path) -> bool:
        """Whether there is a run in a folder."""
        return (folder / RECIPE).is_file()

    @classmethod
    def open(cls, folder: Path, kind: str | None = None) -> Run:
        """The run in a folder.

        Raises:
            RunError: there is none, or it is of another kind.
        """
        if not cls.is_at(folder):
            raise RunError(f"{folder} holds no run: it has no {RECIPE}")
        run = cls(folder)
        if kind not in (None, run.kind()):
            raise RunError(f"{folder} is a run of kind {run.kind()!r}, but one of kind {kind!r} is needed")
        return run

    def recipe(self) -> Recipe:
        """The recipe as used."""
        return load(str(self.folder / RECIPE))

    def kind(self) -> str:
        """What kind of run it is: ``"search"`` or ``"train"``."""
        return str(self.read_json(ABOUT, kind=str)["kind"])

    def label(self) -> str:
        """What to call it: the network that it trains, or the folder."""
        return str(self.read_json(ABOUT).get("label", self.folder.name))

    def network(self) -> Genotype | str:
        """The cells that a search found or that are trained here, or the SPEC of the model that is trained here.

        Raises:
            RunError: a search has found none yet, or a file cannot be read.
            GenotypeError: the genotype cannot be read.
        """
        is_search = self.kind() == "search"
        if not is_search and not self.read_json(ABOUT).get("cells"):
            return str(self.read_json(ABOUT, network=str)["network"])
        if is_search and not (self.folder / GENOTYPE).exists():
            raise RunError(f"the search in {self.folder} has no genotype yet; resume it with: python -m nas search --resume {self.folder}")
        return Genotype.load(self.folder / GENOTYPE)

    def images(self) -> Images:
        """What it remembers of its data.

        Raises:
            RunError: the file cannot be read.
        """
        return Images.from_dict(self.read_json(ENVIRONMENT).get("data"), f"the data in {self.folder / ENVIRONMENT}")

    def check_data(self, data: ImageData) -> None:
        """See that these are the images that it began with.

        Raises:
            RunError: they are others.
        """
        begun, now = self.images(), Images.of(data)
        if begun.sha256 != now.sha256:
            raise RunError(
                f"the run in {self.folder} began with {begun} (sha256 {begun.sha256[:12]}), but {data.source} now holds {now} (sha256 "
                f"{now.sha256[:12]}). Say with --root where the images are that it began with, or start another run"
            )

    # -- files ----------------------------------------------------------------------------------------------

    def write(self, name: str, write: Callable[[IO[bytes]], Any]) -> None:
        """Write a file whole, or not at all.

        Raises:
            RunError: it cannot be written.
        """
        path = self.folder / name
        partial = path.with_name(f".{name}.partial")  # one name, so that kills leave no more than one of it
        try:
            with partial.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except (OSError, RuntimeError) as error:  # torch.save hides what went wrong behind one of its own
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            raise RunError(f"cannot write {path}: {getattr(cause, 'strerror', None) or first_line(error)}") from error
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    def write_text(self, name: str, text: str) -> None:
        """Write text."""
        self.write(name, lambda file: file.write(text.encode()))

    def write_json(self, name: str, data: Any) -> None:
        """Write plain data."""
        self.write_text(name, json.dumps(data, indent=2) + "\n")

    def read_json(self, name: str, **wanted: type) -> dict[str, Any]:
        """Read a table of plain data.

        Args:
            name: of the file.
            wanted: the keys that it must have, and of which type.

        Raises:
            RunError: the file cannot be read, or is no such table.
        """
        path = self.folder / name
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise RunError(f"cannot read {path}: {error}. {ADVICE}") from error
        return checked(found, str(path), **wanted)

    # -- going on -------------------------------------------------------------------------------------------

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write where to go on."""
        self.write(CHECKPOINT, lambda file: torch.save(dict(state), file))

    def load_checkpoint(self, device: torch.device) -> dict[str, Any] | None:
        """Where to go on; ``None`` at the beginning. Nothing in the file can run code.

        Raises:
            RunError: the file is damaged.
        """
        path = self.folder / CHECKPOINT
        if not path.exists():
            return None
        try:
            found = torch.load(path, map_location=device, weights_only=True)
        except Exception as error:
            raise RunError(f"the checkpoint {path} cannot be read ({first_line(error)}). Remove it to begin again.") from error
        return checked(found, f"the checkpoint {path}", epoch=int, step=int, sums=torch.Tensor)

    # -- events ---------------------------------------------------------------------------------------------

    def events(self, **wanted: type) -> list[dict[str, Any]]:
        """The epochs so far; what a kill left unfinished is no epoch.

        Args:
            wanted: the keys that each must have, and of which type.

        Raises:
            RunError: the file cannot be read, or a line is no such epoch.
        """
        path = self.folder / EVENTS
        try:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        except (OSError, ValueError) as error:
            raise RunError(f"cannot read {path}: {error}. {ADVICE}") from error
        found = []
        for number, line in enumerate(lines, 1):
            try:
                event = json.loads(line)
            except (ValueError, RecursionError) as error:
                if not line.endswith("\n"):
                    break
                raise RunError(f"line {number} of {path} is no JSON: {error}. {ADVICE}") from error
            found.append(checked(event, f"line {number} of {path}", **{"epoch": int, **wanted}))
        return found

    def rewind(self, epoch: int) -> None:
        """Drop the events of this epoch and those after it.

        Raises:
            RunError: those before it are not all there, or the file cannot be written.
        """
        kept = [event for event in self.events() if event["epoch"] < epoch]
        if [event["epoch"] for event in kept] != list(range(epoch)):
            raise RunError(
                f"{self.folder / CHECKPOINT} is of {epoch} whole epochs, but {self.folder / EVENTS} does not list them one by one. "
                f"{ADVICE} Without {CHECKPOINT} the run begins again."
            )
        self.write_text(EVENTS, "".join(json.dumps(event) + "\n" for event in kept))
        self._board = _summary_writer(self.folder / "tensorboard", epoch)

    def add_event(self, event: Mapping[str, Any]) -> None:
        """Append an epoch.

        Raises:
            RunError: it cannot be written.
        """
        try:
            with (self.folder / EVENTS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(f"cannot write {self.folder / EVENTS}: {error.strerror or error}") from error
        if self._board is not None:
            for key, value in event.items():
                if isinstance(value, (int, float)) and key != "epoch":
                    self._board.add_scalar(key, value, event["epoch"])
            self._board.flush()


def _summary_writer(folder: Path, epoch: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=epoch)
