"""Which run folders a stage may start from."""

from pathlib import Path

from hw.contract.errors import ArchonError
from sw.run_folder import ACCURACY, CONFIG, read_config, read_settings
from sw.spec import NetworkSpec, parse_spec
from sw.train.recipe import STAGES, stages_of


def holds_masks(folder: Path) -> bool:
    """Whether a run folder is of stage pruned or a later one, so that its checkpoint has masks."""
    return (read_config(folder) or {}).get("stage") in STAGES[STAGES.index("pruned") :]


def starts_of(spec: NetworkSpec, stage: str) -> tuple[str, ...]:
    """Stages whose checkpoints a stage may start from: the one before and all behind that; vanilla from itself alone."""
    stages = stages_of(spec)
    index = stages.index(stage)
    return stages[index - 1 :] if index else stages[:1]


def check_start_stage(spec: NetworkSpec, stage: str, folder: Path) -> None:
    """Raise ArchonError unless a run folder, of whatever network, is of a stage that this one may start from."""
    found = read_settings(folder).stage
    if found not in starts_of(spec, stage):
        raise ArchonError(f"{_expected(spec, stage, folder)}, got stage {found}")


def check_run(spec: NetworkSpec, stage: str, folder: Path) -> None:
    """Raise ArchonError unless a run folder is of this stage of this network."""
    found = read_settings(folder).stage
    if found != stage:
        raise ArchonError(f"{folder}: expected a run of stage {stage} of {spec.name}, got stage {found}")
    _check_network(spec, folder, f"{folder}: expected a run of {spec.name}")


def check_ended(folder: Path) -> None:
    """Raise ArchonError unless the run in a folder has come to its end."""
    if (read_config(folder) or {}).get(ACCURACY) is None:
        raise ArchonError(f"{folder}: expected a run that has ended, got one that was cut off: --resume continues it")


def check_start(spec: NetworkSpec, stage: str, folder: Path) -> None:
    """Raise ArchonError unless a stage of a network may start from a run folder: of which network it is, and which stage."""
    check_start_stage(spec, stage, folder)
    start = _check_network(spec, folder, _expected(spec, stage, folder))
    if spec.sparsity.balanced and holds_masks(folder) and not start.sparsity.balanced:
        raise ArchonError(f"{folder}: expected a run that was pruned evenly (--balanced), got one that was not")


def _check_network(spec: NetworkSpec, folder: Path, expected: str) -> NetworkSpec:
    """The network of a run folder, which has to be this one in all that decides on its weights."""
    network = read_settings(folder).network
    if network is None:
        raise ArchonError(f"{folder / CONFIG}: expected the description of {spec.name}, got none")
    start = parse_spec(network)
    # How much is pruned, and that evenly or not, decides on nothing before stage pruned; evenly or not on no shape behind it.
    ignored = {"name": True, "sparsity": {"balanced"} if holds_masks(folder) else True}
    wanted, found = (description.model_dump(exclude=ignored) for description in (spec, start))
    different = [name for name in wanted if wanted[name] != found[name]]
    if different:
        other = f"another {spec.name}" if start.name == spec.name else start.name
        raise ArchonError(f"{expected}, got one of {other}: they differ in {', '.join(different)}")
    return start


def _expected(spec: NetworkSpec, stage: str, folder: Path) -> str:
    return f"{folder}: expected a run of stage {' or '.join(starts_of(spec, stage))} of {spec.name}"
