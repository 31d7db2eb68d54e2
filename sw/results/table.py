"""The rows of the table: a network on a data set, stage by stage."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sw.results import commands
from sw.results.integers import Evaluated, find_evaluated
from sw.results.published import Published, PublishedNetwork
from sw.results.runs import FoundRun, evaluated_on, faults, find_run, notes
from sw.results.subjects import Sources, Subject, subjects
from sw.results.weights import has_scales, run_counts
from sw.run_folder import WEIGHTS, FinishedRun, logged_epochs, read_log, read_settings
from sw.train.recipe import stages_of

INTEGERS = "integers"

Status = Literal[
    "measured", "needs a GPU", "not trained yet", "not finished", "not exported yet", "not evaluated yet", "refused"
]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class Row(BaseModel):
    """One stage; None where there is no log, or nothing published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str
    dataset: str
    stage: Annotated[str, Field(description="of training, or integers: what the golden model and the RTL compute")]
    status: Status
    accuracy: Share | None = None
    images: Annotated[Count | None, Field(description="of the accuracy: the first ones of the test set; 0: not known")] = None
    test_set: Annotated[Count, Field(description="images of the whole test set")]
    parameters: Count
    multiply_accumulates: Annotated[Count, Field(description="of an image, every weight counted, nothing fused")]
    nonzero_weights: Count | None = None
    nonzero_multiply_accumulates: Annotated[Count | None, Field(description="with these weights alone, nothing fused")] = None
    fused_dense: Annotated[Count, Field(description="multiply-accumulates of what is fused, every weight counted")]
    fused_executed: Annotated[float | None, Field(description="multiplications of the same, fused; mean of an image")] = None
    counted_images: Annotated[Count | None, Field(description="over which that mean is")] = None
    survivors_first: Annotated[Share | None, Field(description="of the first ReLU, mean of what is fused")] = None
    survivors_second: Share | None = None
    survivors_images: Count | None = None
    published_accuracy: Share | None = None
    published_without_log: Annotated[bool, Field(description="listed by the authors, without a figure")] = False
    published_parameters: float | None = None
    published_multiplications: Annotated[float | None, Field(description="of all layers, as the stage executes them")] = None
    notes: tuple[str, ...] = ()
    log: Annotated[str | None, Field(description="file that shows the figures")] = None
    commands: Annotated[tuple[str, ...], Field(description="that measure it, or say how it was measured")]
    wanting: Annotated[
        tuple[str, ...], Field(description="commands that need a GPU: the figures are of a network grown from a narrower one")
    ] = ()

    @property
    def measured(self) -> bool:
        """Whether it has figures of its own."""
        return self.status == "measured"


def make_rows(sources: Sources, published: Published) -> list[Row]:
    """All rows, data set by data set and network by network.

    Raises:
        ArchonError: a run, record or bundle that cannot be read.
    """
    return [row for subject in subjects(sources) for row in _subject_rows(sources, subject, published)]


def _subject_rows(sources: Sources, subject: Subject, published: Published) -> Iterator[Row]:
    found = published.find(subject.network, subject.dataset)
    stages = stages_of(subject.spec)
    runs = {stage: find_run(sources, subject, stage) for stage in stages}
    for stage in stages:
        yield _stage_row(sources, subject, stage, runs[stage], found)
    exportable = any(run is not None and run.facts is not None for run in (runs["quantized"], runs.get("pred")))
    yield _integers_row(sources, subject, exportable=exportable, grown=_grown(runs["quantized"], subject), published=found)


def _grown(run: FoundRun | None, subject: Subject) -> bool:
    """Whether a run stands in for one that trains the network at its full width."""
    return run is not None and run.facts is not None and run.facts.widened_from is not None and subject.full_size


def _row(subject: Subject, stage: str, published: PublishedNetwork, **figures: object) -> Row:
    sizes = subject.sizes
    accuracies = {str(name): share / 100 for name, share in published.accuracy.items()}
    multiplications = {str(name): 1e6 * millions for name, millions in published.multiplications.items()}
    values: dict[str, object] = {
        "network": subject.network, "dataset": subject.dataset, "stage": stage, "test_set": subject.images,
        "parameters": sizes.parameters, "multiply_accumulates": sizes.multiply_accumulates, "fused_dense": sizes.fused,
        "published_accuracy": accuracies.get(stage), "published_without_log": stage in published.listed_without_log,
        "published_parameters": None if published.parameters is None else 1e6 * published.parameters,
        "published_multiplications": multiplications.get(stage),
    }  # fmt: skip
    return Row.model_validate(values | figures)


def _untrained(subject: Subject) -> Status:
    return "needs a GPU" if subject.full_size else "not trained yet"


def _stage_row(sources: Sources, subject: Subject, stage: str, run: FoundRun | None, published: PublishedNetwork) -> Row:
    if run is None:
        command = commands.train_command(subject, stage)
        return _row(subject, stage, published, status=_untrained(subject), commands=(command,))
    log = sources.shown(run.log)
    if run.facts is None:
        note = f"{logged_epochs(read_log(run.folder))} epochs so far"
        command = commands.train_command(subject, stage, read_settings(run.folder), resume=True)
        return _row(subject, stage, published, status="not finished", notes=(note,), log=log, commands=(command,))
    found = faults(run, run.facts, subject, stage)
    if found:
        command = commands.train_command(subject, stage)
        return _row(subject, stage, published, status="refused", notes=tuple(found), log=log, commands=(command,))
    return _row(
        subject, stage, published, status="measured", log=log,
        commands=(commands.train_command(subject, stage, run.facts),), **_run_figures(run, run.facts, subject),
        wanting=(commands.train_command(subject, stage),) if _grown(run, subject) else (),
    )  # fmt: skip


def _run_figures(run: FoundRun, facts: FinishedRun, subject: Subject) -> dict[str, object]:
    figures: dict[str, object] = {"accuracy": facts.test_accuracy, "images": evaluated_on(facts, subject)}
    said, weights = notes(facts, subject), run.folder / WEIGHTS
    if weights.exists():
        counts = run_counts(weights, subject.spec)
        figures |= {"nonzero_weights": counts.weights, "nonzero_multiply_accumulates": counts.multiply_accumulates}
        if facts.stage == "quantized" and has_scales(weights):
            said.append("in exact integers")
    return figures | {"notes": tuple(said)}


def _integers_row(sources: Sources, subject: Subject, *, exportable: bool, grown: bool, published: PublishedNetwork) -> Row:
    found = find_evaluated(sources, subject)
    evaluate = [commands.evaluate_command(subject)]
    if subject.spec.predicts:
        images = commands.FEW_IMAGES if subject.full_size else commands.MANY_IMAGES
        evaluate.append(commands.evaluate_command(subject, fused=True, images=images))
    if isinstance(found, Evaluated):
        figures = _evaluated_figures(sources, subject, found)
        wanting = (commands.export_command(subject), *evaluate) if grown else ()
        return _row(subject, INTEGERS, published, status="measured", wanting=wanting, **figures)
    if found.faults:
        status: Status = "refused"
    elif found.exported:
        status = "not evaluated yet"
    else:
        status = "not exported yet" if exportable else _untrained(subject)
    export = [] if found.exported else [commands.export_command(subject)]
    return _row(subject, INTEGERS, published, status=status, notes=found.faults, commands=tuple(export + evaluate))


def _evaluated_figures(sources: Sources, subject: Subject, found: Evaluated) -> dict[str, object]:
    evaluations, counts = found.record.evaluations, found.bundle.counts
    best = max(evaluations.values(), key=lambda evaluation: evaluation.images)
    figures: dict[str, object] = {
        "accuracy": best.correct / best.images, "images": best.images, "notes": found.notes, "log": sources.shown(found.path),
        "nonzero_weights": counts.weights, "nonzero_multiply_accumulates": counts.multiply_accumulates,
        "commands": tuple(
            commands.evaluate_command(subject, fused=mode == "fused", images=evaluation.images)
            for mode, evaluation in sorted(evaluations.items(), reverse=True)
        ),
    }  # fmt: skip
    if best.blocks:
        for ordinal in ("first", "second"):
            shares = [getattr(block, f"survivors_{ordinal}") for block in best.blocks]
            figures[f"survivors_{ordinal}"] = sum(shares) / len(shares)
        figures["survivors_images"] = best.images
    fused = evaluations.get("fused")
    if fused is not None and fused.blocks:
        executed = [block.multiplications_executed or 0.0 for block in fused.blocks]
        figures |= {"fused_executed": sum(executed), "counted_images": fused.images}
    return figures
