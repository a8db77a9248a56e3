"""A run is a folder, and a run that is killed at any moment goes on as if it had not been.

| file | what |
|---|---|
| recipe.toml | the recipe as used |
| run.json | what kind of run, what it is about |
| environment.json | versions, machine, data |
| events.jsonl | a line for each epoch |
| checkpoint.pt | where to go on |
| genotype.json, result.json | what came out |
| report.md, *.png | for people |
| tensorboard/ | the events, where TensorBoard is installed |

Files are written whole: to a temporary name, flushed, and renamed. Events carry their epoch, so those after the last checkpoint are
dropped when a run goes on.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch

import flopscope
from nas.data import ImageData
from nas.errors import RunError
from nas.recipe import Recipe, load

CHECKPOINT, EVENTS, RECIPE = "checkpoint.pt", "events.jsonl", "recipe.toml"


class Run:
    """A folder of one search or training.

    Args:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._board: Any = None

    @classmethod
    def create(cls, folder: Path, kind: str, recipe: Recipe, data: ImageData, about: Mapping[str, Any]) -> Run:
        """Make a new folder.

        Raises:
            RunError: there is a run already, or the folder cannot be made.
        """
        cls.vacant(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the run folder {folder}: {error.strerror or error}") from error
        run = cls(folder)
        run.write_json("environment.json", environment(data))
        run.write_json("run.json", {"kind": kind, **about})
        run.write_text(RECIPE, recipe.to_toml())  # last: where it is, the folder is complete
        return run

    @staticmethod
    def vacant(folder: Path) -> Path:
        """The folder, if a new run can be made there.

        Raises:
            RunError: it holds one already.
        """
        if (folder / RECIPE).exists():
            raise RunError(f"{folder} holds a run already; go on with it with --resume {folder}, or give another folder with --out")
        return folder

    @classmethod
    def open(cls, folder: Path, kind: str | None = None) -> Run:
        """The run in a folder.

        Raises:
            RunError: there is none, or it is of another kind.
        """
        if not (folder / RECIPE).is_file():
            raise RunError(f"{folder} holds no run: it has no {RECIPE}")
        run = cls(folder)
        if kind is not None and run.about()["kind"] != kind:
            raise RunError(f"{folder} is a run of kind {run.about()['kind']!r}, but one of kind {kind!r} is needed")
        return run

    def recipe(self) -> Recipe:
        """The recipe as used."""
        return load(str(self.folder / RECIPE))

    def about(self) -> dict[str, Any]:
        """What kind of run it is, and what it is about."""
        return self.read_json("run.json")

    # -- files ----------------------------------------------------------------------------------------------

    def write(self, name: str, write: Callable[[IO[bytes]], Any]) -> None:
        """Write a file whole, or not at all.

        Raises:
            RunError: it cannot be written.
        """
        path = self.folder / name
        partial = path.with_name(f".{name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise RunError(f"cannot write {path}: {error.strerror or error}") from error

    def write_text(self, name: str, text: str) -> None:
        """Write text."""
        self.write(name, lambda file: file.write(text.encode()))

    def write_json(self, name: str, data: Any) -> None:
        """Write plain data."""
        self.write_text(name, json.dumps(data, indent=2) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read plain data.

        Raises:
            RunError: the file cannot be read.
        """
        path = self.folder / name
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"cannot read {path}: {error}") from error
        return found

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
            found: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        except Exception as error:
            raise RunError(f"the checkpoint {path} cannot be read ({error}). Remove it to begin again.") from error
        return found

    # -- events ---------------------------------------------------------------------------------------------

    def events(self) -> list[dict[str, Any]]:
        """The epochs so far; what a kill left unfinished is no epoch."""
        path = self.folder / EVENTS
        found = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                break
        return found

    def rewind(self, epoch: int) -> None:
        """Drop the events of this epoch and those after it."""
        kept = [event for event in self.events() if event["epoch"] < epoch]
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


def environment(data: ImageData) -> dict[str, Any]:
    """What a reader needs to run it again."""
    return {
        "flopscope": flopscope.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "threads": torch.get_num_threads(),
        "data": {
            "name": data.name,
            "shape": list(data.shape),
            "train": len(data.train),
            "test": len(data.test),
            "sha256": data.fingerprint,
        },
    }


def _summary_writer(folder: Path, epoch: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=epoch)
