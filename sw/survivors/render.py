"""The curve as a table, on a terminal and in a page."""

from collections.abc import Sequence

from rich.table import Table

from sw.survivors.points import Point

HEADINGS = ("limits", "thresholds raised by", "survivors 1st / 2nd, %", "accuracy, %", "cycles", "of which blocks")


def cells(point: Point) -> tuple[str, ...]:
    """A point under HEADINGS."""
    return (
        point.setting,
        f"{point.raised_first:g} / {point.raised_second:g}" if point.is_raised else "-",
        f"{100 * point.survivors_first:.1f} / {100 * point.survivors_second:.1f}",
        f"{100 * point.accuracy:.2f}",
        f"{point.cycles:,.0f}",
        f"{point.block_cycles:,.0f}",
    )


def table(name: str, points: Sequence[Point]) -> Table:
    """A row a point."""
    shown = Table(title=f"{name}: accuracy, survivors, cycles")
    for heading in HEADINGS:
        shown.add_column(heading, justify="left" if heading == HEADINGS[0] else "right")
    for point in points:
        shown.add_row(*cells(point))
    return shown


def markdown(points: Sequence[Point]) -> str:
    """The same for a page."""
    rows = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 1)), *(cells(point) for point in points)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
