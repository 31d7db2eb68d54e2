"""The report of a whole-network run: its fields, and the files it is written to. docs/report.md describes it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from sw.spec import Kind

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]
Mean = Annotated[float, Field(ge=0.0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LayerReport(_Section):
    """One layer; everything counted is the mean over the images, and null where it does not apply."""

    name: Annotated[
        str,
        Field(
            description="image, stem, first_pointwise, first_depthwise, block 1..., last_pointwise, pool, dense; "
            "of a block that is several layers, block 1 expand, depthwise, project, pair, shortcut, relu, fused, squeeze, "
            "reduce, excite or scale"
        ),
    ]
    kind: Annotated[Kind, Field(description="what the layer computes")]
    on: Annotated[
        Literal["rtl", "host"], Field(description="rtl: the simulated accelerator computed it; host: the golden model did")
    ]
    cycles: Annotated[
        Mean | None, Field(description="clock cycles from the start of the layer's first job to the end of its last; rtl only")
    ]
    multiplications_dense: Annotated[
        Count, Field(description="multiplications of the layer executed layer by layer with all weights, an image")
    ]
    multiplications_pruned: Annotated[
        Count, Field(description="the same with only the weights that are not zero; border taps count in both")
    ]
    multiplications_executed: Annotated[
        Mean | None, Field(description="multiplications that the accelerator's multipliers did (its own counters); rtl only")
    ]
    additions_executed: Annotated[
        Mean | None,
        Field(
            description="updates of fused weights and bias accumulators; other layers: loading weights (own counters); rtl only"
        ),
    ]
    survivors_first: Annotated[
        Share | None, Field(description="share of the block's expanded activations that the first predicted ReLU lets through")
    ]
    survivors_second: Annotated[Share | None, Field(description="the same of the second predicted ReLU")]
    predictor_agreement_first: Annotated[
        Share | None, Field(description="share in which the first predicted mask equals the true sign of its pre-activation")
    ]
    predictor_agreement_second: Annotated[
        Share | None,
        Field(description="the same of the second mask; its pre-activation is computed with the first mask as predicted"),
    ]


class UnitActivity(_Section):
    """What a unit did in a layer, in cycles of all its instances; means over the images. docs/report.md defines the states."""

    layer: Annotated[str, Field(description="name of the layer")]
    unit: Annotated[str, Field(description="the unit, as in hw.contract.activity")]
    instances: Annotated[int, Field(gt=0, description="how many of the unit there are in all clusters, or in the image unit")]
    cycles: Annotated[Mean, Field(description="instances times the layer's cycles: the sum of the following")]
    busy: Annotated[float, Field(description="cycles in which it did its work")]
    starved: Annotated[float, Field(description="cycles of waiting for input between its first and last work in a job")]
    blocked: Annotated[float, Field(description="cycles in which it had something to hand over that was not taken")]
    drain: Annotated[float, Field(description="cycles before its first or after its last work in a job, or without a job")]


class FirstDifference(_Section):
    """The first number that is not what the golden model says; channel, row and column are null for a counter."""

    image: Count
    layer: str
    quantity: Annotated[str, Field(description="activation, logit, multiplications, additions or steps")]
    channel: Count | None
    row: Count | None
    column: Count | None
    expected: int
    got: int


class Report(_Section):
    """One whole-network run."""

    network: Annotated[str, Field(description="the network's name, as in its specification")]
    bundle: Annotated[str, Field(description="what NET was: a known name or the path of a bundle")]
    images: Annotated[int, Field(gt=0, description="how many images were run")]
    image_indices: Annotated[list[Count], Field(description="their positions in the CIFAR-10 test set")]
    labels: Annotated[list[Count], Field(description="their true classes")]
    predictions: Annotated[list[Count], Field(description="the classes that came out, in the order of image_indices")]
    bit_exact: Annotated[bool, Field(description="every activation, logit and counter of every layer is as expected")]
    mismatches: Annotated[Count, Field(description="how many of them do not")]
    compared: Annotated[Count, Field(description="how many activations, logits and counters were compared")]
    first_difference: Annotated[FirstDifference | None, Field(description="the first of the mismatches, null without any")]
    accuracy: Annotated[Share, Field(description="share of these images whose class is right")]
    preset: Annotated[str, Field(description="configuration that the accelerator was derived from")]
    clusters: Annotated[int, Field(gt=0, description="clusters of the accelerator")]
    lanes: Annotated[int, Field(gt=0, description="lanes in all clusters")]
    multipliers: Annotated[int, Field(gt=0, description="multipliers in all clusters, one a lane")]
    seed: Annotated[int, Field(description="chose the images")]
    simulator: Annotated[Literal["verilator", "icarus"], Field(description="simulator of the RTL")]
    memory_latency: Annotated[Count, Field(description="cycles between a read request and its first word")]
    clock_cycles_per_image: Annotated[
        Mean, Field(description="mean clock cycles of an image's layers on the rtl, from the command to the end of the program")
    ]
    wall_seconds: Annotated[Mean, Field(description="host time of the whole run, building included")]
    simulation_seconds: Annotated[Mean, Field(description="host time of those cycles alone, all images")]
    simulated_cycles_per_second: Annotated[Mean, Field(description="simulated clock cycles in a second of simulation_seconds")]
    versions: Annotated[dict[str, str], Field(description="of Python, packages and the simulator")]
    command: Annotated[str, Field(description="repeats the run")]
    activity: Annotated[
        list[UnitActivity], Field(description="every unit that had a part in a layer, layer by layer; empty without counters")
    ]
    discrepancies: Annotated[
        list[str], Field(description="sentences on counters that do not reconcile; the run fails where there are any")
    ]
    layers: Annotated[list[LayerReport], Field(min_length=1, description="all layers, in the order in which they run")]

    @property
    def passed(self) -> bool:
        """Bits are equal and counters reconcile."""
        return self.bit_exact and not self.discrepancies

    def table(self) -> pd.DataFrame:
        """The layers, one a row."""
        return pd.DataFrame([layer.model_dump() for layer in self.layers], columns=list(LayerReport.model_fields))

    def activity_table(self) -> pd.DataFrame:
        """The units of all layers, one a row."""
        return pd.DataFrame([row.model_dump() for row in self.activity], columns=list(UnitActivity.model_fields))


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write report.json, report.csv (layers) and activity.csv (units); each file appears whole or not at all."""
    writers: dict[str, Callable[[Path], object]] = {
        "report.json": lambda path: path.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8"),
        "report.csv": lambda path: report.table().to_csv(path, index=False),
        "activity.csv": lambda path: report.activity_table().to_csv(path, index=False),
    }
    for name, writer in writers.items():
        write_whole(folder / name, writer)
    return [folder / name for name in writers]


def write_whole(path: Path, writer: Callable[[Path], object]) -> None:
    """Let `writer` write beside `path`, then move the finished file there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        writer(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def schema() -> dict[str, object]:
    """The JSON schema of report.json."""
    return Report.model_json_schema()
