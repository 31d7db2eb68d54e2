"""The page docs/precision.md, from the table that comes with the project."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from hw.contract.errors import ArchonError
from sw.arrays import file_digest, write_whole
from sw.precision.choices import DEFAULT, KINDS, choices_of
from sw.precision.render import CSV, HEADINGS, KIB, LEFT, LOWEST, PICTURE, cells, grouped, how, picture
from sw.precision.rows import Row, to_csv
from sw.run_folder import CHECKPOINT, KEPT_RUNS, WEIGHTS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "precision.md"
GAIN = HEADINGS.index("against default")
SETTINGS = tuple(choices_of()[0].settings)
"""Columns in which choices differ."""
ERRORS = 2
"""Standard errors within which two accuracies are not told apart."""

ABOUT = """\
`archon precision {network} --keep` (`make precision NET={network} KEEP=1`) wrote this page and
[the table](../sw/train/runs/{network}/precision.csv); do not edit it. Without `--keep` the table, with a picture, is
`build/NAME/precision.json`, `.csv` and `.svg`, of any trained network with fused blocks. Rows that are there already are not
measured again. `--images` takes the first so many test images, `--only` some kinds of rows.

Each row quantises the float weights of stage `quantized` with other numbers and counts test images in exact integers. These
weights were trained for the default: rows that only round them show what a change costs a network that does not know of it.
With `--steps`, each choice, the default among them, trains so many steps more from the same checkpoint, on the same images,
with its own numbers in the forward pass. Fifty steps tell nothing: begun anew at a higher learning rate, the network moves by
more than the choices differ.

The weights are {weights}.

- `against default`: points of accuracy beyond the default's, and their standard error, from the images that only one of the two
  recognises. It does not know of the chance in training.
- `W2`: the sum of at most so many signed powers of two, or a plain integer, which the hardware adds up as signed powers, two a
  step, as it does with the weights of layers that are not fused.
- `v`, `A`, `D b1 / b2`, `T1 sum`: bits that products, adders, biases and the predictor's sums need, so that nothing overflows
  for any image. In the kinds `default`, `adder`, `predictor` and `same adder` scales are chosen so that A fits a given width;
  in the others its width is what comes out.
- `value tables`: rows of PAIR, STEP and BIAS (`hw/contract/tables.py`) of all groups and lanes, at these widths, with addresses
  as of the preset `{preset}`; with one power a step has no fields for a second. `all tables`: the predictor's and the
  requantizer's as well.
- `updates`: steps of accumulation, one output pixel of every block, everything surviving: what adder rows are busy with.
"""
FOLLOWS = """
## What follows for the default

Rounded only, {images} images, points against the default with their standard error, which hides smaller differences; the width
of A is that of the block that needs most.

- **W1 and D of 5 bits.** 4 bits: {weights_4}. 6 bits: {weights_6}; 8 bits: {weights_8}. More bits buy nothing that could be
  measured, and each costs two bits in all nine products of a pair.
- **W2 as two signed powers of two.** One power: {one}. Plain integers of 8 bits: {plain_8}; of 4 bits: {plain_4}. Plain ones of
  more than 4 bits take more steps.
- **Predictor inputs of 4 bits.** 2 bits: {predictor_2}; 3 bits: {predictor_3}; 5 bits: {predictor_5}; 8 bits: {predictor_8}.
  Ternary weights and thresholds were trained for 4 bits, so only tuned rows compare these fairly.
- **Adders of 18 bits** are more than this network needs: of 16 bits {adder_16}, of 14 bits {adder_14}, of 13 bits {adder_13},
  of 12 bits {adder_12}. Shifts of W2 up to 3 alone: {shift_3}; but the int8 weights of layers that are not fused need shifts up
  to 7 from the same steps. How wide A has to be in larger networks, with more channels in a sum, this table cannot say.
"""


def keep_files(rows: Sequence[Row]) -> list[Path]:
    """Write what comes with the project: the table among the kept runs, and the page with its picture."""
    contents = {
        KEPT_RUNS / rows[0].network / CSV: to_csv(rows),
        DOCS / PICTURE: picture(rows),
        PAGE: page(rows),
    }
    for path, content in contents.items():
        write_whole(path, content.encode())
    return list(contents)


def page(rows: Sequence[Row]) -> str:
    """The page, in Markdown."""
    first, groups = rows[0], grouped(rows)
    text = (
        f"# Precision of {first.network}\n\n{ABOUT.format(network=first.network, preset=first.preset, weights=_weights(rows))}"
    )
    text += f"\n![Accuracy over the size of tables]({PICTURE})\n\nThe picture ends at {LOWEST:g} points.\n"
    for way, part in groups:
        text += f"\n## {way.capitalize()}\n\n{_grid(part)}"
        text += f"\n{findings(part)}"
    rounded = [row for row in rows if not row.tuned_steps]
    most = max((row.images for row in rounded), default=0)
    return text + follows([row for row in rounded if row.images == most])


def _weights(rows: Sequence[Row]) -> str:
    """Which kept runs the rows' float weights and checkpoints are of, by their digests."""
    digests = {row.digest for row in rows}
    files = sorted(path for name in (WEIGHTS, CHECKPOINT) for path in KEPT_RUNS.rglob(name))
    folders = dict.fromkeys(path.parent for path in files if file_digest(path) in digests)
    named = [f"those of `sw/train/runs/{folder.relative_to(KEPT_RUNS).as_posix()}`" for folder in folders]
    return " and ".join(named) or "of a run that does not come with the project"


def follows(rows: Sequence[Row]) -> str:
    """Why the hardware's numbers are what they are, from rows that were only rounded."""
    named: dict[str, tuple[str, dict[str, str | int]]] = {
        "one": ("powers of two", {"project": "1 power, shifts to 7"}),
        "shift_3": ("powers of two", {"project": "2 powers, shifts to 3"}),
    }
    named |= {f"weights_{bits}": ("weights", {"weight_bits": bits}) for bits in (4, 6, 8)}
    named |= {f"plain_{bits}": ("plain", {"project": f"plain, {bits} bits"}) for bits in (4, 8)}
    named |= {f"predictor_{bits}": ("predictor", {"predictor_input_bits": bits}) for bits in (2, 3, 5, 8)}
    named |= {f"adder_{bits}": ("adder", {"adder_limit": bits}) for bits in (12, 13, 14, 16)}
    said = {name: _said(rows, kind, columns) for name, (kind, columns) in named.items()}
    return FOLLOWS.format(images=f"{rows[0].images:,}" if rows else "no", **said)


def _said(rows: Sequence[Row], kind: str, columns: Mapping[str, str | int]) -> str:
    """Gain and costs of one row."""
    found = [row for row in rows if row.kind == kind and all(getattr(row, name) == value for name, value in columns.items())]
    if not found or found[0].gain is None:
        return "not measured"
    [row] = found
    return f"{cells(row)[GAIN]} (A {row.adder_bits} bits, value tables {row.value_bits / KIB:.1f} KiB)"


def findings(rows: Sequence[Row]) -> str:
    """What rows that can be compared with each other say of the default, as a list."""
    default = next((row for row in rows if row.kind == DEFAULT), None)
    if default is None:
        raise ArchonError(f"{how(rows[0])}: expected a row of the kind {DEFAULT}, got none")
    others = [row for row in rows if row.kind != DEFAULT and row.gain is not None and row.gain_error is not None]
    sets: list[tuple[str, Callable[[Row], bool]]] = [
        (
            "More accurate than the default, by more than two standard errors",
            lambda row: _surely(row) > 0,
        ),
        (
            "Not measurably less accurate, with smaller or equal tables of the value path and adders, and no more steps",
            lambda row: _surely(row) == 0 and _cheaper(row, default),
        ),
        (
            "Cheaper in this sense, but less accurate by more than two standard errors",
            lambda row: _surely(row) < 0 and _cheaper(row, default),
        ),
    ]
    known = {tuple(getattr(row, name) for name in SETTINGS) for row in rows}
    missing = [str(choice) for choice in choices_of() if tuple(choice.settings[name] for name in SETTINGS) not in known]
    lists = [f"{title}: {_listed(filter(holds, others))}." for title, holds in sets]
    return "".join(f"- {line}\n" for line in [*lists, f"Not measured yet: {'; '.join(missing) or 'none'}."])


def _surely(row: Row) -> int:
    """Sign of the gain, 0 if that is not sure."""
    gain, error = row.gain or 0.0, row.gain_error or 0.0
    return 0 if abs(gain) <= ERRORS * error else 1 if gain > 0 else -1


def _cheaper(row: Row, default: Row) -> bool:
    costs = [(row.value_bits, default.value_bits), (row.adder_bits, default.adder_bits), (row.updates, default.updates)]
    return all(own <= other for own, other in costs) and any(own < other for own, other in costs)


def _listed(rows: Iterable[Row]) -> str:
    said = [
        f"{row.kind} (W1, D {row.weight_bits} bits, W2 {row.project}, A {row.adder_bits} bits, predictor "
        f"{row.predictor_input_bits} bits: {row.gain:+.2f})"
        for row in sorted(rows, key=lambda row: list(KINDS).index(row.kind))
    ]
    return "; ".join(said) or "none"


def _grid(rows: Sequence[Row]) -> str:
    rules = ["---" if index < LEFT else "---:" for index in range(len(HEADINGS))]
    return "".join(f"| {' | '.join(line)} |\n" for line in (HEADINGS, rules, *map(cells, rows)))
