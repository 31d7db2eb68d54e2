"""Coverage for people and for programs: tables for the terminal, and coverage.json, .csv and .html."""

import dataclasses
import html
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
from rich import box
from rich.table import Table

from sim.coverage.summary import LEAST, Coverage, Hole, Share
from sim.report import write_whole

_STYLE = """
body { font: 14px sans-serif; margin: 2em; color: #222 } table { border-collapse: collapse; margin: 1em 0 }
td, th { padding: 2px 10px; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top } td.n { text-align: right }
.bar { background: #e66; width: 160px; height: 10px } .bar div { background: #3a3; height: 10px } code { white-space: pre-wrap }
tr.excluded { color: #888 }
"""


def unit_table(coverage: Coverage) -> Table:
    """One row a unit."""
    table = Table(title=f"coverage of {coverage.runs} runs", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("unit", no_wrap=True)
    for heading in ("lines", "of", "excluded", "%", "toggles", "of", "excluded", "%"):
        table.add_column(heading, justify="right", no_wrap=True)
    for unit in sorted(set(coverage.lines) | set(coverage.toggles)):
        table.add_row(unit, *_cells(coverage.lines.get(unit)), *_cells(coverage.toggles.get(unit)))
    table.add_section()
    totals = coverage.totals()
    table.add_row("all", *_cells(totals["lines"]), *_cells(totals["toggles"]), style="bold")
    return table


def cross_table(coverage: Coverage) -> Table:
    """One row a cross."""
    table = Table(title="functional coverage", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("cross", no_wrap=True)
    for heading in ("ran", "possible", "%"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, share in coverage.functional.items():
        table.add_row(name, *_cross_cells(share))
    table.add_section()
    table.add_row("all", *_cross_cells(coverage.totals()["functional"]), style="bold")
    return table


def write_files(coverage: Coverage, folder: Path) -> list[Path]:
    """Write coverage.json, coverage.csv (one row a hole) and coverage.html; their paths."""
    texts = {
        "coverage.json": json.dumps(facts(coverage), indent=2) + "\n",
        "coverage.csv": pd.DataFrame([vars(hole) for hole in coverage.holes]).to_csv(index=False),
        "coverage.html": page(coverage),
    }
    paths = [folder / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_whole(path, partial(Path.write_text, data=text, encoding="utf-8"))
    return paths


def facts(coverage: Coverage) -> dict[str, object]:
    """Everything, for JSON."""
    parts = {"lines": coverage.lines, "toggles": coverage.toggles, "functional": coverage.functional}
    totals = coverage.totals()
    return {
        "runs": coverage.runs,
        "least_percent": LEAST,
        "totals": {name: _share_facts(share) for name, share in totals.items()},
        **{name: {unit: _share_facts(share) for unit, share in shares.items()} for name, shares in parts.items()},
        "complaints": coverage.complaints(),
        "holes": [dataclasses.asdict(hole) for hole in coverage.holes],
    }


def page(coverage: Coverage) -> str:
    """A page with a bar for every unit and cross, and all holes."""
    return "\n".join(
        ["<!DOCTYPE html>", "<meta charset='utf-8'>", f"<title>Coverage</title><style>{_STYLE}</style>", *_body(coverage)]
    )


def _body(coverage: Coverage) -> Iterator[str]:
    yield f"<h1>Coverage of {coverage.runs} runs</h1>"
    for complaint in coverage.complaints():
        yield f"<p><b>{html.escape(complaint)}</b></p>"
    parts = {"lines": coverage.lines, "toggles": coverage.toggles, "functional": coverage.functional}
    for title, shares in parts.items():
        yield f"<h2>{title.capitalize()}</h2><table><tr><th>where<th><th>reached<th>of<th>excluded<th>%</tr>"
        for name, share in [("all", coverage.totals()[title]), *sorted(shares.items())]:
            cells = "".join(f"<td class=n>{cell}" for cell in _cells(share))
            yield f"<tr><td>{name}<td><div class=bar><div style='width:{share.percent:.1f}%'></div></div>{cells}</tr>"
        yield "</table>"
    yield "<h2>Holes</h2><table><tr><th>where<th>kind<th>what<th>source<th>points<th>excluded because</tr>"
    for hole in sorted(coverage.holes, key=lambda hole: (bool(hole.reason), hole.unit, hole.kind)):
        yield _row(hole)
    yield "</table>"


def _row(hole: Hole) -> str:
    cells = [hole.unit, hole.kind, hole.what, hole.place, str(hole.points), hole.reason]
    texts = [html.escape(cell) for cell in cells]
    texts[2] = f"<code>{texts[2]}</code>"
    return f"<tr{' class=excluded' if hole.reason else ''}><td>{'<td>'.join(texts)}</tr>"


def _cells(share: Share | None) -> list[str]:
    if share is None:
        return [""] * 4
    return [f"{share.reached:,}", f"{share.total:,}", f"{share.excluded:,}", f"{share.percent:.1f}"]


def _cross_cells(share: Share) -> list[str]:
    return [f"{share.reached:,}", f"{share.total - share.excluded:,}", f"{share.percent:.1f}"]


def _share_facts(share: Share) -> dict[str, float]:
    return {**dataclasses.asdict(share), "percent": round(share.percent, 3)}
