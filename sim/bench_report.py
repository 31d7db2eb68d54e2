"""What a benchmark measured: its fields, its table and its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from rich import box
from rich.table import Table

from sim.report import write_whole


class Measurement(BaseModel):
    """One figure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(description="what was measured")]
    unit: Annotated[str, Field(description="of median and values")]
    median: float
    values: Annotated[list[float], Field(min_length=1, description="of all runs, in order")]
    processor_seconds: Annotated[float, Field(description="of all its processes, one run: the median")]
    peak_memory_mib: Annotated[
        float | None, Field(description="most resident memory at once of the processes that did it, of all runs")
    ]


class Benchmark(BaseModel):
    """All figures, and what they were measured on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str
    preset: str
    lanes: int
    images: Annotated[int, Field(description="of every simulation")]
    cycles: Annotated[int, Field(description="of every simulation")]
    runs: Annotated[int, Field(description="of everything, taking turns")]
    processors: Annotated[int | None, Field(description="of this machine")]
    load: Annotated[float, Field(description="processes that wanted a processor in the minute before")]
    versions: Mapping[str, str]
    measurements: list[Measurement]

    def table(self) -> Table:
        """One row a measurement."""
        title = f"{self.network} on {self.lanes} lanes: medians of {self.runs} run{'s' * (self.runs > 1)}"
        caption = f"{self.processors or 'unknown number of'} processors, {self.load:.1f} busy before"
        table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1))
        table.add_column("", no_wrap=True)
        table.add_column("median", justify="right", no_wrap=True)
        table.add_column("unit", no_wrap=True)
        for heading in ("least", "most", "processor", "peak memory"):
            table.add_column(heading, justify="right", no_wrap=True)
        for item in self.measurements:
            median, least, most = (_short(number) for number in (item.median, min(item.values), max(item.values)))
            memory = "-" if item.peak_memory_mib is None else f"{item.peak_memory_mib:,.0f} MiB"
            table.add_row(item.name, median, item.unit, least, most, f"{item.processor_seconds:,.1f} s", memory)
        return table

    def write(self, folder: Path) -> list[Path]:
        """Write bench.json and bench.csv (a row a measurement); each file appears whole or not at all."""
        rows = [
            {
                "name": item.name,
                "unit": item.unit,
                "median": item.median,
                "least": min(item.values),
                "most": max(item.values),
                "processor_seconds": item.processor_seconds,
                "peak_memory_mib": item.peak_memory_mib,
            }
            for item in self.measurements
        ]
        files = [folder / "bench.json", folder / "bench.csv"]
        write_whole(files[0], lambda path: path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8"))
        write_whole(files[1], lambda path: pd.DataFrame(rows).to_csv(path, index=False))
        return files


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
