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
    from nas.runs import Run


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
    from nas.runs import RESULT, Run
    from nas.searching import Search

    if resume is not None:
        _alone(resume, recipe=recipe, data=data_name, settings=settings, out=out, budget=budget)
        run = Run.open(resume, "search")
        chosen = run.recipe()
        data = _data_of(run, chosen, root)
        job = Search(run, chosen, data)
    else:
        chosen = _recipe(recipe, settings, data_name, root, _budget(budget))
        folder = Run.vacant(out or Path("runs") / chosen.name)
        data = _data(chosen, root)
        job = Search(Run(folder), chosen, data)  # what cannot be searched leaves no folder
        run = Run.create(folder, "search", chosen, data, {"recipe": recipe})
    with _progress("searching") as progress:
        genotype = job.finish(progress)
    write_search_report(run, job.space)
    result = run.read_json(RESULT, cost=int, metric=str)
    click.echo(f"{genotype}\n{in_words(result['cost'], result['metric'])} as a network\nwrote {run.folder}/report.md")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--budget", metavar="METRIC=NUMBER", help="The strongest network within 2 % below this budget, as for search. Default: the run's."
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Where to write the genotype. Default: only print it.")
def derive(folder: Path, budget: str | None, output: Path | None) -> None:
    """Derive a network from the weights that the search in FOLDER has reached, finished or not."""
    from nas.amounts import in_words
    from nas.runs import Run
    from nas.searching import bounds_of, latency_table, network_input, recorded_weights, space_of

    run = Run.open(folder, "search")
    recipe, images = run.recipe(), run.images()
    space, objective = space_of(recipe), recipe.objective
    weights = recorded_weights(run, space)
    asked = dict(_budget(budget))
    metric = asked.get("objective.metric", objective.metric)
    target = asked.get("objective.target", objective.target if objective.form == "budget" else None)
    cost = space.network_cost(metric, *network_input(recipe, images.shape, images.classes), latency_table(recipe))
    genotype = space.derive(weights) if target is None else space.derive_within(weights, cost, *bounds_of(target))
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
    from nas.genotype import Genotype
    from nas.machine import seed_everything
    from nas.models.spec import build, genotype_of
    from nas.report.markdown import write_training_report
    from nas.runs import RECIPE, Run
    from nas.searching import network_shape
    from nas.training import Training

    if resume is not None:
        _alone(resume, network=network, recipe=recipe, data=data_name, settings=settings, out=out)
        run, folder = Run.open(resume, "train"), resume
        chosen, found = run.recipe(), run.network()
        data = _data_of(run, chosen, root, chosen.network.size)
    else:
        if network is None:
            raise RecipeError("say what to train: a run folder, a genotype.json, published:NAME, or a model such as mobilenet_v2")
        own = Path(network)
        found = Run.open(own).network() if Run.is_at(own) else genotype_of(network) or network
        chosen = _recipe(recipe or (str(own / RECIPE) if Run.is_at(own) else "small"), settings, data_name, root)
        data = _data(chosen, root, chosen.network.size)
        folder = Run.vacant(out or Path("runs") / f"train-{_label(network).replace(':', '-').replace('/', '-')}")
    seed_everything(chosen.seed)
    built = build(found, data.shape, len(data.classes), network_shape(chosen), auxiliary=chosen.train.auxiliary > 0)
    job = Training(Run(folder), chosen, data, built)  # what cannot be trained leaves no folder
    if resume is None:
        cells = found if isinstance(found, Genotype) else None
        about = {"network": network if cells else found, "label": _label(str(network))}
        Run.create(folder, "train", chosen, data, about, cells)
    with _progress("training") as progress:
        accuracy = job.finish(progress)
    write_training_report(job.run)
    cost = job.cost
    click.echo(
        f"{job.run.label()}: test accuracy {accuracy:.2%}\n{cost.params:,} params, {cost.macs:,} MACs, {cost.flops:,} FLOPs, "
        f"{cost.access:,} access\nwrote {folder}/report.md"
    )


@main.command()
@click.argument("networks", nargs=-1, required=True, metavar="RUN-or-MODEL...")
@_with(*_DATA)
@click.option("--recipe", help="The data of networks by name, and how cells are stacked. Default: those of the first run, or small.")
@click.option("--format", "style", type=click.Choice(("table", "markdown", "latex", "csv")), default="table", show_default=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead of the terminal.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw accuracy against MACs, with the Pareto front.")
def compare(
    networks: Sequence[str],
    recipe: str | None,
    data_name: str | None,
    root: Path | None,
    settings: Sequence[str],
    style: str,
    output: Path | None,
    plot: Path | None,
) -> None:
    """Compare trained runs, searches and models in one table.

    A run is counted with its own recipe and images. --data, --root, --set and --recipe speak of the networks by name.
    """
    from nas.comparison import made_for, points_of, row_of_run, row_of_spec, table_of
    from nas.environment import Images
    from nas.errors import RecipeError
    from nas.report.tradeoff import draw_tradeoff
    from nas.runs import RECIPE, Run

    runs = {spec: Run.open(Path(spec)) for spec in networks if Run.is_at(Path(spec))}
    first = next(iter(runs.values()), None)
    given = [f"--{name}" for name, value in (("recipe", recipe), ("data", data_name), ("root", root), ("set", settings)) if value]
    if given and len(runs) == len(set(networks)):
        raise RecipeError(f"{', '.join(given)} would change nothing: a run has its own recipe and images, and all networks here are runs")
    chosen = _recipe(recipe or (str(first.folder / RECIPE) if first else "small"), settings, data_name, root)
    images = first.images() if first and not given else Images.of(_data(chosen, root))
    if given or first is None or first.kind() == "search":  # a training has the images that its network is made for
        images = made_for(chosen, images)
    rows = [row_of_run(runs[spec]) if spec in runs else row_of_spec(spec, chosen, images) for spec in networks]
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


def _data_of(run: Run, recipe: Recipe, root: Path | None, size: int = 0) -> ImageData:
    """The images that a run began with, of the size of a recipe or of another; a root says where they are now."""
    from dataclasses import replace

    from nas.data import NAMES

    name = recipe.data.name
    if root is not None and name not in NAMES:  # then the name is a path, which is where they were
        recipe, root = replace(recipe, data=replace(recipe.data, name=str(root))), None
    data = _data(recipe, root, size)
    run.check_data(data)
    return data


def _label(network: str) -> str:
    """What to call a network: its SPEC, or the name of its folder or file."""
    path = Path(network)
    if not path.exists():
        return network
    path = path.resolve()
    return (path.parent if path.name == "genotype.json" else path).name.removesuffix(".json")


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
