"""Integer W1, D, W2 and biases of a fused block, so that every product W2*D*W1 has one scale per output channel.

With BatchNorm folded, z1 = W1 x + b1, z2 = D a1 + b2, y = W2 a2 + b3 (docs/numerics.md). Expanded channel e gets a
scale a for W1 and d for D; both, with the input's scale sx, move into W2's column, W2' = W2 * a * d * sx, and output
channel k gets the scale w of its row of W2'. The integers are W1 / a, D / d, W2' / w, b1 / (a sx), b2 / (a d sx)
and b3 / w, and the integer y counts units of w.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.contract import numerics
from hw.contract.config import Widths
from hw.contract.errors import ArchonError
from sw.quantize import powers
from sw.quantize.precision import Precision

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SCALES = 8
"""As many scales are tried, that map the largest weight of a channel to integers from half of the largest one up to that."""

BOUND_ROUNDS = 40


@dataclass(frozen=True)
class ValuePath:
    """Float weights of a block's value path with BatchNorm folded in."""

    expand_weight: Floats
    """W1 (E, C/G)."""
    expand_bias: Floats
    """b1 (E,)."""
    depthwise_weight: Floats
    """D (E, k, k)."""
    depthwise_bias: Floats
    """b2 (E,)."""
    project_weight: Floats
    """W2 (K, E/G)."""
    project_bias: Floats
    """b3 (K,)."""

    @property
    def groups(self) -> int:
        """G, from the shapes."""
        return len(self.expand_weight) // self.project_weight.shape[1]

    def columns(self) -> Floats:
        """W2 by expanded channel: row e holds the K/G weights that leave e."""
        outputs = len(self.project_weight) // self.groups
        split = self.project_weight.reshape(self.groups, outputs, -1).transpose(0, 2, 1)
        return np.ascontiguousarray(split.reshape(-1, outputs))


@dataclass(frozen=True)
class QuantizedValuePath:
    """Integers of a value path with their scales: float weight ~ integer * scale."""

    expand_weight: Integers
    expand_bias: Integers
    depthwise_weight: Integers
    depthwise_bias: Integers
    project_weight: Integers
    project_bias: Integers
    input_scale: float
    """sx."""
    expand_scale: Floats
    """a (E,)."""
    depthwise_scale: Floats
    """d (E,)."""
    output_scale: Floats
    """w (K,): what one unit of the integer y is worth."""

    def floats(self) -> ValuePath:
        """The float value path that these integers stand for exactly."""
        groups = len(self.expand_weight) // self.project_weight.shape[1]
        a, d = self.expand_scale, self.depthwise_scale
        column_scale = np.repeat((a * d * self.input_scale).reshape(groups, -1), len(self.output_scale) // groups, axis=0)
        return ValuePath(
            expand_weight=self.expand_weight * a[:, None],
            expand_bias=self.expand_bias * a * self.input_scale,
            depthwise_weight=self.depthwise_weight * d[:, None, None],
            depthwise_bias=self.depthwise_bias * a * d * self.input_scale,
            project_weight=self.project_weight * self.output_scale[:, None] / column_scale,
            project_bias=self.project_bias * self.output_scale,
        )


def fake_quantize(path: ValuePath, input_scale: float, precision: Precision | None = None) -> ValuePath:
    """The float weights as the hardware will see them: quantised and scaled back. Shapes as in `path`."""
    return quantize_value_path(path, input_scale, precision).floats()


def quantize_value_path(
    path: ValuePath, input_scale: float, precision: Precision | None = None, *, unit_window: bool = False
) -> QuantizedValuePath:
    """Choose scales and round.

    For each expanded channel the pair of scales is taken, out of those that map the largest W1 and the largest D to the
    upper half of their range (8..15), with which the products W2*D*W1 come out nearest to the float ones (least squares).
    Output scales are the smallest with which every W2 is representable and no sum of a row can overflow.

    Args:
        path: float weights, BatchNorm folded.
        input_scale: sx, value of one level of the int8 input.
        precision: of the integers; the hardware's when left out.
        unit_window: D holds integers already (a pair of pointwise layers, whose window is one tap with the weight 1).

    Raises:
        ArchonError: a scale or weight that is not finite, or sums that no output scale brings into range.
    """
    precision = precision or Precision()
    widths = precision.widths
    _check_finite(path, input_scale)
    columns = path.columns() * np.asarray(path.expand_weight.any(axis=1))[:, None]
    first = _scale_candidates(path.expand_weight, widths)
    depthwise = path.depthwise_weight.reshape(len(columns), -1)
    second = np.ones((len(columns), 1)) if unit_window else _scale_candidates(depthwise, widths)
    first, second = _widened_for_biases(path, input_scale, first, second, widths)
    output_scale = _smallest_output_scales(path, columns, first[:, 0] * second[:, 0] * input_scale, precision)
    for _ in range(BOUND_ROUNDS):
        chosen = _best_scales(path, columns, input_scale, first, second, output_scale, precision)
        rounded = _rounded(path, columns, input_scale, *chosen, output_scale, precision)
        excess = bound_excess(rounded, widths)
        if (excess <= 1).all():
            return rounded
        output_scale = np.where(excess > 1, output_scale * np.maximum(excess, 1.02) * 1.01, output_scale)
    worst = int(excess.argmax())
    raise ArchonError(f"output channel {worst}: no scale keeps its sums within {widths.accumulator} bits")


def bound_excess(path: QuantizedValuePath, widths: Widths) -> Floats:
    """(K,): largest possible sum of an output channel over what its accumulators hold; overflow only above 1.

    The largest entry of A against the accumulator's width, and the largest y, biases included, against 32 bits. This
    steers the choice of scales; sw.bundle.check_bounds proves the result independently.
    """
    groups = len(path.expand_weight) // path.project_weight.shape[1]
    expanded = len(path.expand_weight)
    depthwise = np.abs(path.depthwise_weight).reshape(expanded, 1, -1)
    products = (np.abs(path.expand_weight)[:, :, None] * depthwise).reshape(groups, expanded // groups, -1)
    project = np.abs(path.project_weight).reshape(groups, -1, expanded // groups).astype(np.float64)
    entries = (project @ products.astype(np.float64)).reshape(len(path.project_weight), -1)
    bias = np.abs(path.depthwise_bias) + depthwise.sum(axis=(1, 2)) * np.abs(path.expand_bias)
    biases = (project @ bias.reshape(groups, -1, 1).astype(np.float64)).reshape(-1)
    largest_input = 1 << (numerics.ACTIVATION_BITS - 1)
    total = largest_input * entries.sum(axis=1) + biases + np.abs(path.project_bias)
    limits = [numerics.signed_range(bits)[1] for bits in (widths.accumulator, numerics.OUTPUT_ACCUMULATOR_BITS)]
    return np.maximum(entries.max(axis=1, initial=0) / limits[0], total / limits[1])


def _check_finite(path: ValuePath, input_scale: float) -> None:
    if not (np.isfinite(input_scale) and input_scale > 0):
        raise ArchonError(f"an input scale must be positive, got {input_scale}")
    for item in dataclasses.fields(path):
        if not np.isfinite(getattr(path, item.name)).all():
            raise ArchonError(f"{item.name}: expected finite weights, got an infinite one or none")


def _scale_candidates(weights: Floats, widths: Widths) -> Floats:
    """(E, candidates), finest first: scales that map a row's largest magnitude to an integer; 1 for rows of zeros."""
    peak = np.abs(weights).max(axis=1)
    peak = np.where(peak > 0, peak, widths.weight_max)
    targets = np.unique(np.rint(np.linspace(widths.weight_max, (widths.weight_max + 1) // 2, SCALES)))[::-1]
    return peak[:, None] / targets


def _widened_for_biases(
    path: ValuePath, input_scale: float, first: Floats, second: Floats, widths: Widths
) -> tuple[Floats, Floats]:
    """Raise scales where otherwise D * b1 or b2 would not fit its field."""
    product_limit = numerics.signed_range(widths.bias_product)[1] // widths.weight_max - 1
    first = np.maximum(first, np.abs(path.expand_bias)[:, None] / (input_scale * product_limit))
    bias_limit = numerics.signed_range(widths.bias)[1] - 1
    unit = first[:, :1] * input_scale * bias_limit
    return first, np.maximum(second, np.abs(path.depthwise_bias)[:, None] / unit)


def _smallest_output_scales(path: ValuePath, columns: Floats, column_scale: Floats, precision: Precision) -> Floats:
    """(K,): with these the largest weight of a row is the largest representable one, and b3 takes half of y's range."""
    outputs = columns.shape[1]
    peak = np.abs(columns * column_scale[:, None]).reshape(path.groups, -1, outputs).max(axis=1).reshape(-1)
    scale = peak / precision.project_magnitudes[-1]
    bias_limit = numerics.signed_range(numerics.OUTPUT_ACCUMULATOR_BITS - 1)[1]
    return np.maximum(np.where(scale > 0, scale, 1e-3), np.abs(path.project_bias) / bias_limit)


def _nearest_columns(columns: Floats, column_scale: Floats, output_scale: Floats, precision: Precision) -> Integers:
    """W2 / w by expanded channel, (E, K/G), for column scales (E,) and output scales (K,)."""
    groups = len(output_scale) // columns.shape[1]
    rows = np.repeat(output_scale.reshape(groups, -1), len(columns) // groups, axis=0)
    return powers.nearest(columns * column_scale[:, None] / rows, precision.project_magnitudes)


def _rounding(weights: Floats, scale: Floats, widths: Widths) -> Integers:
    """Weights (E, ...) over scale (E,), rounded and kept within the symmetric range."""
    limit = widths.weight_max
    return np.clip(np.rint(weights / scale[:, None]), -limit, limit).astype(np.int64)


def _best_scales(
    path: ValuePath,
    columns: Floats,
    input_scale: float,
    first: Floats,
    second: Floats,
    output_scale: Floats,
    precision: Precision,
) -> tuple[Floats, Floats]:
    """(a, d): of all pairs of candidates, per expanded channel, the one with the least squared error of W2*D*W1.

    The product is a tensor of rank one, so its error follows from norms and inner products of the three factors.
    """
    expanded, groups = len(columns), path.groups
    depthwise = path.depthwise_weight.reshape(expanded, -1)
    best = np.full(expanded, np.inf)
    a, d = first[:, 0].copy(), second[:, 0].copy()
    rows = np.repeat(output_scale.reshape(groups, -1), expanded // groups, axis=0)
    firsts = [_moments(path.expand_weight, scale, precision.widths) for scale in first.T]
    seconds = [_moments(depthwise, scale, precision.widths) for scale in second.T]
    norm = (columns**2).sum(axis=1) * (path.expand_weight**2).sum(axis=1) * (depthwise**2).sum(axis=1)
    for a_scale, (a_norm, a_inner) in zip(first.T, firsts, strict=True):
        for d_scale, (d_norm, d_inner) in zip(second.T, seconds, strict=True):
            column_scale = a_scale * d_scale * input_scale
            integers = _nearest_columns(columns, column_scale, output_scale, precision)
            rounded = integers * rows / column_scale[:, None]
            error = norm + (rounded**2).sum(axis=1) * a_norm * d_norm
            error -= 2 * (rounded * columns).sum(axis=1) * a_inner * d_inner
            better = error < best * (1 - 1e-9)
            best = np.where(better, error, best)
            a, d = np.where(better, a_scale, a), np.where(better, d_scale, d)
    return a, d


def _moments(weights: Floats, scale: Floats, widths: Widths) -> tuple[Floats, Floats]:
    """Squared norm of the rounded weights, and their inner product with the float ones, per row."""
    rounded = _rounding(weights, scale, widths) * scale[:, None]
    return (rounded**2).sum(axis=1), (rounded * weights).sum(axis=1)


def _rounded(
    path: ValuePath, columns: Floats, input_scale: float, a: Floats, d: Floats, output_scale: Floats, precision: Precision
) -> QuantizedValuePath:
    groups, expanded, widths = path.groups, len(columns), precision.widths
    first = _rounding(path.expand_weight, a, widths)
    # Beside a bias as large as its scale was widened for, W1 may round to nothing: no pair is left that adds the bias.
    integers = _nearest_columns(columns, a * d * input_scale, output_scale, precision) * np.asarray(first.any(axis=1))[:, None]
    project = integers.reshape(groups, expanded // groups, -1).transpose(0, 2, 1).reshape(len(output_scale), -1)
    return QuantizedValuePath(
        expand_weight=first,
        expand_bias=np.rint(path.expand_bias / (a * input_scale)).astype(np.int64),
        depthwise_weight=_rounding(path.depthwise_weight.reshape(expanded, -1), d, widths).reshape(path.depthwise_weight.shape),
        depthwise_bias=np.rint(path.depthwise_bias / (a * d * input_scale)).astype(np.int64),
        project_weight=np.ascontiguousarray(project),
        project_bias=np.rint(path.project_bias / output_scale).astype(np.int64),
        input_scale=input_scale,
        expand_scale=a,
        depthwise_scale=d,
        output_scale=output_scale,
    )
