"""``python -m nas``: search, derive, train, compare, latency, recipes.

Exit codes: 0 all went well; 2 something asked for cannot be done (one message says what and why).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flopscope.cli.main import ErrorsAsMessages
from flopscope.cli.output import emit
from flopscope.cli.settings import value_of
from flopscope.version import __version__

if TYPE_CHECKING:
    from nas.data import ImageData
    from nas.job import Progress
    from nas.recipe import Recipe


class _Group(ErrorsAsMessages):
    program = "nas"


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nas")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Search for networks under a cost limit, and compare them with networks made by hand."""


Command = TypeVar("Command", bound=Callable[..., Any])
_DATA = (
    click.option(
        "--data", "data_name", metavar="NAME", help="digits, fashion_mnist, cifar10, or a folder of images. Default: the recipe's."
    ),
    click.option("--root", type=click.Path(path_type=Path), help="Where the data lie: a file or a folder."),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting, such as search.epochs=10. Repeatable."),
)
_OUT = click.option("--out", type=click.Path(path_type=Path), help="The run folder. Default: runs/NAME.")
_RESUME = click.option("--resume", type=click.Path(path_type=Path), help="Go on with the run in this folder.")


def _with(*options: Any) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@main.command()
@click.argument("recipe", required=False)
@_with(*_DATA, _OUT, _RESUME)
@click.option("--budget", metavar="METRIC=NUMBER", help="A hard budget of the trained network, such as macs=300M or latency=5ms.")
def search(
    recipe: str | None,
    data_name: str | None,
    root: Path | None,
    settings: Sequence[str],
    out: Path | None,
    resume: Path | None,
    budget: str | None,
) -> None:
    """Search with a RECIPE: one of `python -m nas recipes`, or a TOML file."""
    from nas.amounts import in_words
    from nas.report.markdown import write_search_report
    from nas.runs import Run
    from nas.searching import Search

    if resume is not None:
        _alone(resume, recipe=recipe, data=data_name, settings=settings, out=out, budget=budget)
        run = Run.open(resume, "search")
        chosen = run.recipe()
        data = _data(chosen, root)
        job = Search(run, chosen, data)
    else:
        chosen = _recipe(recipe, settings, data_name, root, _budget(budget))
        folder = Run.vacant(out or Path("runs") / chosen.name)
        data = _data(chosen, root)
        job = Search(Run(folder), chosen, data)  # what cannot be searched leaves no folder
        run = Run.create(folder, "search", chosen, data, {"recipe": recipe})
    with _progress("searching") as progress:
        genotype = job.finish(progress)
    write_search_report(run, job.space.operations, job.space.edge_names)
    result = run.read_json("result.json")
    click.echo(f"{genotype}\n{in_words(result['cost'], result['metric'])} as a network\nwrote {run.folder}/report.md")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--budget", metavar="METRIC=NUMBER", help="The strongest network within 2 % below this budget, as for search.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Where to write the genotype. Default: only print it.")
def derive(folder: Path, budget: str | None, output: Path | None) -> None:
    """Derive a network from the weights that the search in FOLDER has reached, finished or not."""
    import torch

    from nas.amounts import in_words
    from nas.errors import RunError
    from nas.runs import Run
    from nas.searching import bounds_of, latency_table, network_input, space_of

    run = Run.open(folder, "search")
    events = run.events()
    if not events:
        raise RunError(f"the search in {folder} has not finished an epoch yet")
    recipe = run.recipe()
    space = space_of(recipe)
    weights = {level: torch.tensor(table) for level, table in events[-1]["weights"].items()}
    genotype = space.derive(weights)
    data = _data(recipe, None)
    changes = dict(_budget(budget))
    metric = changes.get("objective.metric", recipe.objective.metric)
    cost = space.network_cost(metric, *network_input(recipe, data.shape, len(data.classes)), latency_table(recipe))
    if budget is not None:
        genotype = space.derive_within(weights, cost, *bounds_of(changes["objective.target"]))
    click.echo(f"{genotype}\n{in_words(cost.of(genotype), metric)} as a network")
    if output is not None:
        genotype.save(output)
        click.echo(f"wrote {output}", err=True)


@main.command()
@click.argument("network", required=False)
@_with(*_DATA, _OUT, _RESUME)
@click.option("--recipe", "recipe", help="How to train. Default: the recipe of the run, or small.")
def train(
    network: str | None,
    recipe: str | None,
    data_name: str | None,
    root: Path | None,
    settings: Sequence[str],
    out: Path | None,
    resume: Path | None,
) -> None:
    """Train a NETWORK from scratch: what a search found (its run folder or genotype.json), published:NAME, or mobilenet_v2:width=0.5."""
    from nas.errors import RecipeError
    from nas.machine import seed_everything
    from nas.models.spec import build, genotype_of
    from nas.runs import RECIPE, Run
    from nas.searching import network_shape
    from nas.training import Training

    if resume is not None:
        _alone(resume, network=network, recipe=recipe, data=data_name, settings=settings, out=out)
        run = Run.open(resume, "train")
        chosen, network = run.recipe(), run.about()["network"]
        data = _data(chosen, root, chosen.network.size)
    else:
        if network is None:
            raise RecipeError("say what to train: a run folder, a genotype.json, published:NAME, or a model such as mobilenet_v2")
        own = Path(network) / RECIPE
        chosen = _recipe(recipe or (str(own) if own.is_file() else "small"), settings, data_name, root)
        data = _data(chosen, root, chosen.network.size)
        genotype = genotype_of(network)
        label = Path(network).name if genotype is not None else network
        folder = Run.vacant(out or Path("runs") / f"train-{label.replace(':', '-').replace('/', '-')}")
        build(network, data.shape, len(data.classes), network_shape(chosen))  # what cannot be built leaves no folder
        run = Run.create(folder, "train", chosen, data, {"network": network, "label": label})
        if genotype is not None:
            run.write_json("genotype.json", genotype.to_dict())
    spec = str(run.folder) if (run.folder / "genotype.json").is_file() else str(network)
    seed_everything(chosen.seed)
    job = Training(
        run, chosen, data, build(spec, data.shape, len(data.classes), network_shape(chosen), auxiliary=chosen.train.auxiliary > 0)
    )
    with _progress("training") as progress:
        accuracy = job.finish(progress)
    click.echo(f"{run.about()['label']}: test accuracy {accuracy:.2%}\nwrote {run.folder}")


@main.command()
@click.argument("networks", nargs=-1, required=True, metavar="RUN-or-MODEL...")
@_with(*_DATA)
@click.option("--recipe", default="small", show_default=True, help="For networks by name: the data, and how cells are stacked.")
@click.option("--format", "style", type=click.Choice(("table", "markdown", "latex", "csv")), default="table", show_default=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead of the terminal.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw accuracy against MACs, with the Pareto front.")
def compare(
    networks: Sequence[str],
    recipe: str,
    data_name: str | None,
    root: Path | None,
    settings: Sequence[str],
    style: str,
    output: Path | None,
    plot: Path | None,
) -> None:
    """Compare trained runs, searches and models in one table."""
    from nas.comparison import points_of, row_of, table_of
    from nas.report.tradeoff import draw_tradeoff
    from nas.runs import RECIPE, Run

    first = next((Path(spec) for spec in networks if (Path(spec) / RECIPE).is_file()), None)
    chosen = Run.open(first).recipe() if first is not None and data_name is None else _recipe(recipe, settings, data_name, root)
    data = _data(chosen, root)
    rows = [row_of(spec, chosen, data) for spec in networks]
    emit(table_of(rows, style), output)
    if plot is not None:
        draw_tradeoff(points_of(rows), plot, cost_label="MACs")
        click.echo(f"wrote {plot}", err=True)


@main.command()
@click.argument("recipe")
@_with(*_DATA)
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="Where to write the table.")
@click.option("--repeats", type=click.IntRange(min=1), default=20, show_default=True, help="Runs of each operation.")
def latency(recipe: str, data_name: str | None, root: Path | None, settings: Sequence[str], output: Path, repeats: int) -> None:
    """Measure the operations of a RECIPE's space on this CPU; objective.table=FILE with objective.metric=latency searches by it."""
    from nas.searching import network_input, space_of
    from nas.spaces.darts.latency import measure

    chosen = _recipe(recipe, settings, data_name, root)
    data, space = _data(chosen, root), space_of(chosen)
    searched = data.shape, len(data.classes)
    networks = (space.search, *searched), (space.trained, *network_input(chosen, *searched))
    measure(space.operations, space.nodes, networks, repeats).save(output)
    click.echo(f"wrote {output}", err=True)


@main.command()
def recipes() -> None:
    """List the recipes that come with the package."""
    from nas.recipe import load, names

    for name in names():
        click.echo(f"{name:26} {load(name).source}")


# -- what commands share --------------------------------------------------------------------------------------


def _recipe(
    name: str | None, settings: Sequence[str], data_name: str | None, root: Path | None, changes: Sequence[tuple[str, Any]] = ()
) -> Recipe:
    from nas.errors import RecipeError
    from nas.recipe import load, names

    if name is None:
        raise RecipeError(f"say which recipe: a .toml file, or one of {', '.join(names())}; or --resume a run")
    found = [] if data_name is None else [("data.name", data_name), ("data.root", "")]
    found += [] if root is None else [("data.root", str(root.resolve()))]
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise RecipeError(f"--set {text!r} is not KEY=VALUE, as in --set search.epochs=10")
        found.append((key.strip(), value_of(value.strip())))
    return load(name, [*found, *changes])


def _data(recipe: Recipe, root: Path | None, size: int = 0) -> ImageData:
    """The images of a recipe, of the size that it says, or of another."""
    from nas.data import load

    settings = recipe.data
    place = root if root is not None else Path(settings.root) if settings.root else None
    return load(settings.name, place, size=size or settings.size or None)


def _budget(text: str | None) -> list[tuple[str, Any]]:
    """The settings that ``--budget macs=300M`` stands for."""
    from nas.amounts import parse_budget
    from nas.errors import RecipeError

    if text is None:
        return []
    metric, equals, number = text.partition("=")
    if not equals:
        raise RecipeError(f"--budget {text!r} is not METRIC=NUMBER, as in --budget macs=300M")
    target = parse_budget(number, metric)
    return [("objective.form", "budget"), ("objective.metric", metric), ("objective.of", "network"), ("objective.target", target)]


def _alone(resume: Path, **others: Any) -> None:
    from nas.errors import RecipeError

    given = [name for name, value in others.items() if value]
    if given:
        raise RecipeError(f"--resume {resume} goes on with the recipe in that folder, so {', '.join(given)} cannot be given as well")


@contextmanager
def _progress(what: str) -> Iterator[Progress | None]:
    """A progress bar with the time left, on a terminal."""
    import sys

    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)

        def update(done: int, total: int, words: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{what}, {words}")

        yield update
