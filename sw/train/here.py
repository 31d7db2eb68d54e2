"""A run in this process, from its options to its exit status."""

from rich.console import Console

from hw.contract.errors import ArchonError
from sw.command import not_installed, refused
from sw.train.options import Options
from sw.train.settings import Run, progress_of, resumes, start_of


def train_here(network: str, options: Options) -> int:
    """Train, and say how it went; the exit status of `archon train`."""
    console = Console()
    try:
        run = options.run(network)
        if not resumes(run):
            start_of(run)  # what cannot begin is refused before data are fetched
        from sw.train.devices import left_out  # noqa: PLC0415 (Keras takes seconds to load)
        from sw.train.run import train  # noqa: PLC0415

        if (notice := left_out(run.devices, run.recipe.batch)) is not None:
            console.print(notice)
        stays = run.resume and progress_of(run) == "finished"
        console.print(planned(run), highlight=False, soft_wrap=True)
        accuracy = train(run, *options.data(run.spec, run.dataset))
    except ModuleNotFoundError as error:
        return not_installed(error)
    except (ArchonError, OSError) as error:
        return refused(error)
    if stays:
        console.print(f"{run.spec.name} {run.stage}: had finished before and stays as it is")
    console.print(ended(run, accuracy))
    return 0


def planned(run: Run) -> str:
    """What a run is going to do."""
    recipe = run.recipe
    plan = f"epochs: {recipe.epochs}, images a step: {recipe.batch}, seed: {run.seed}"
    return f"{run.spec.name} {run.stage}: {plan}; {run.folder}"


def ended(run: Run, accuracy: float | None) -> str:
    """How a run ended that did not fail."""
    if accuracy is None:
        return f"{run.spec.name} {run.stage}: time is up; continue with --resume"
    return f"{run.spec.name} {run.stage}: test accuracy {100 * accuracy:.2f} %, weights in {run.folder}"
