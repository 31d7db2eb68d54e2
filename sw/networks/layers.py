"""Keras layers of a fusible network: masked convolutions, each followed by its BatchNorm.

Weights keep the layout of the exported files (output channel first, input channels of one group). Every weight has
a 0/1 mask of the same shape, multiplied in on use: a pruned weight contributes nothing and gets no gradient.
"""

from typing import Any

import keras
from keras import ops

from hw.contract.taps import SMALL_KERNEL

Tensor = Any

EPSILON = 1e-3
STATISTICS_MOMENTUM = 0.9


class NamedLayer(keras.layers.Layer):
    """A layer whose name in files may have dots, which PyTorch's parameters may not.

    Args:
        name: what it is called in files, NAME.label.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name.replace(".", "_"))
        self.label = name


class Norm(NamedLayer):
    """BatchNorm that can be folded: y = scale * x + offset per channel.

    Args:
        channels: size of the last axis.
        name: layer name.
    """

    def __init__(self, channels: int, name: str) -> None:
        super().__init__(name)
        self.frozen = False
        self.has_offset = True
        self.gamma = self.add_weight(shape=(channels,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(channels,), initializer="zeros", name="beta")
        self.moving_mean = self.add_weight(shape=(channels,), initializer="zeros", name="moving_mean", trainable=False)
        self.moving_variance = self.add_weight(shape=(channels,), initializer="ones", name="moving_variance", trainable=False)

    def freeze(self) -> None:
        """Keep statistics, scale and offset as they are from now on, in training too."""
        self.frozen = True
        self.trainable = False

    def drop_offset(self) -> None:
        """Only scale from now on: what is folded into the layer has no bias."""
        self.freeze()
        self.has_offset = False

    def folded(self) -> tuple[Tensor, Tensor]:
        """Scale and offset of inference, each [channels]."""
        return self._fold(self.moving_mean, self.moving_variance)

    def observed(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and offset for a training batch with these statistics; the moving statistics follow them."""
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(STATISTICS_MOMENTUM * moving + (1 - STATISTICS_MOMENTUM) * ops.stop_gradient(batch))
        return self._fold(mean, variance)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Normalise over all axes but the last."""
        if training and not self.frozen:
            axes = tuple(range(len(inputs.shape) - 1))
            scale, offset = self.observed(*ops.moments(inputs, axes))
        else:
            scale, offset = self.folded()
        return inputs * scale + offset

    def _fold(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        scale = self.gamma * ops.rsqrt(variance + EPSILON)
        offset = self.beta - mean * scale
        return scale, offset if self.has_offset else 0.0 * offset


class MaskedLayer(NamedLayer):
    """A layer with one weight, its mask and its BatchNorm.

    Args:
        shape: shape of the weight, output channel first.
        name: layer name.
    """

    def __init__(self, shape: tuple[int, ...], name: str) -> None:
        super().__init__(name)
        self.weight = self.add_weight(
            shape=shape, initializer=keras.initializers.RandomNormal(stddev=he_deviation(shape)), name="weight"
        )
        self.mask = self.add_weight(shape=shape, initializer="ones", name="mask", trainable=False)
        self.norm = Norm(shape[0], f"{name}.norm")
        self.rounding: Any = None
        self.built = True

    def masked(self) -> Tensor:
        """The weight with pruned entries zero."""
        return self.weight * self.mask

    def used(self) -> Tensor:
        """The weight that the layer applies: masked and, once rounding is enabled, quantised."""
        return self.masked() if self.rounding is None else self.masked() + self.rounding

    def enable_rounding(self) -> None:
        """Add a constant, zero for now, that takes the masked weight to its quantised value (straight-through)."""
        self.rounding = self.add_weight(shape=self.weight.shape, initializer="zeros", name="rounding", trainable=False)

    def freeze(self) -> None:
        """Train neither the weight nor its BatchNorm from now on."""
        self.norm.freeze()
        self.trainable = False


def he_deviation(shape: tuple[int, ...]) -> float:
    """Standard deviation of He's normal initialisation for a weight [outputs, inputs...]."""
    fan_in = 1
    for size in shape[1:]:
        fan_in *= size
    return float((2.0 / fan_in) ** 0.5)


class Pointwise(MaskedLayer):
    """Grouped 1x1 convolution and BatchNorm: [N, H, W, C] to [N, H, W, K].

    The statistics of a wide output are found from the covariance of its narrow input (they are exact: the
    convolution is linear), so the wide tensor is written once, already normalised.

    Args:
        in_channels: C.
        out_channels: K; weight [K, C / groups], rows in group order.
        groups: groups that share nothing.
        name: layer name.
        shuffles: the inputs are to be shuffled first; the layer does so with its weights, which are fewer.
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int, name: str, shuffles: bool = False) -> None:
        super().__init__((out_channels, in_channels // groups), name)
        self.groups = groups
        self.shuffles = shuffles
        self.widens = out_channels > in_channels

    def matrix(self, weight: Tensor) -> Tensor:
        """Weight [K, C / G] as the matrix [C, K] of the whole layer, block-diagonal but for the shuffle."""
        matrix = block_diagonal(weight, self.groups)
        if not self.shuffles:
            return matrix
        channels, outputs = matrix.shape
        rows = ops.reshape(matrix, (channels // self.groups, self.groups, outputs))
        return ops.reshape(ops.transpose(rows, (1, 0, 2)), (channels, outputs))

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Convolve and normalise."""
        matrix = self.matrix(self.used())
        if self.norm.frozen or not training:
            scale, offset = self.norm.folded()
        elif self.widens:
            scale, offset = self.norm.observed(*linear_statistics(inputs, matrix))
        else:
            return self.norm(multiply_channels(inputs, matrix), training=True)
        return multiply_channels(inputs, matrix * scale) + offset


def block_diagonal(weight: Tensor, groups: int) -> Tensor:
    """Weight [K, C / groups] of a grouped layer as the matrix [C, K] of the whole layer."""
    rows, columns = weight.shape
    blocks = ops.transpose(ops.reshape(weight, (groups, rows // groups, columns)), (0, 2, 1))
    placed = blocks[:, :, None, :] * ops.eye(groups, dtype=weight.dtype)[:, None, :, None]
    return ops.reshape(placed, (groups * columns, rows))


def multiply_channels(inputs: Tensor, matrix: Tensor) -> Tensor:
    """[N, H, W, C] times [C, K]."""
    _, height, width, channels = inputs.shape
    flat = ops.matmul(ops.reshape(inputs, (-1, channels)), matrix)
    return ops.reshape(flat, (-1, height, width, matrix.shape[1]))


def linear_statistics(inputs: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance [K] of inputs [N, H, W, C] times matrix [C, K], without forming the product."""
    flat = ops.reshape(inputs, (-1, inputs.shape[-1]))
    mean = ops.mean(flat, axis=0)
    count = ops.cast(ops.shape(flat)[0], "float32")
    covariance = ops.matmul(ops.transpose(flat), flat) / count - mean[:, None] * mean[None, :]
    variance = ops.sum(matrix * ops.matmul(covariance, matrix), axis=0)
    return ops.squeeze(ops.matmul(mean[None, :], matrix), 0), ops.maximum(variance, 0.0)


class Depthwise(MaskedLayer):
    """Depthwise convolution with zero padding kernel // 2 on every side, and BatchNorm.

    out[p] = sum over d in -1..1 (3x3) of weight[d] * in[stride * p + d].

    Args:
        channels: E; weight [E, kernel, kernel].
        kernel: window size.
        stride: 1 or 2.
        name: layer name.
    """

    def __init__(self, channels: int, kernel: int, stride: int, name: str) -> None:
        super().__init__((channels, kernel, kernel), name)
        self.stride = stride

    def convolve(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Convolution alone, with a weight [E, kernel, kernel]."""
        kernel = ops.transpose(weight, (1, 2, 0))[..., None]
        if self.stride == 1:
            return ops.depthwise_conv(inputs, kernel, strides=1, padding="same")
        return ops.depthwise_conv(pad(inputs, weight.shape[1] // 2), kernel, strides=self.stride, padding="valid")

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Convolve and normalise."""
        if self.norm.frozen or not training:
            scale, offset = self.norm.folded()
            return self.convolve(inputs, self.used() * scale[:, None, None]) + offset
        return self.norm(self.convolve(inputs, self.used()), training=True)


class Stem(MaskedLayer):
    """Ordinary convolution with symmetric zero padding, and BatchNorm.

    Args:
        in_channels: channels of the image.
        out_channels: K; weight [K, in_channels, kernel, kernel].
        kernel: window size.
        stride: 1 or 2.
        name: layer name.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, name: str) -> None:
        super().__init__((out_channels, in_channels, kernel, kernel), name)
        self.stride = stride

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Convolve and normalise."""
        weight = self.used()
        padded = pad(inputs, weight.shape[-1] // 2)
        kernel = ops.transpose(weight, (2, 3, 1, 0))
        return self.norm(ops.conv(padded, kernel, strides=self.stride, padding="valid"), training=training)


def average_pool(inputs: Tensor, stride: int) -> Tensor:
    """Means under 3x3 windows; what lies outside the image counts as zero, the divisor is 9 everywhere."""
    reach = SMALL_KERNEL // 2
    return ops.average_pool(pad(inputs, reach), SMALL_KERNEL, strides=stride, padding="valid")


def pad(inputs: Tensor, width: int) -> Tensor:
    """Zeros around every image."""
    return ops.pad(inputs, ((0, 0), (width, width), (width, width), (0, 0)))


def shuffle_channels(inputs: Tensor, groups: int) -> Tensor:
    """Interleave groups: output channel k * groups + g is channel k of group g."""
    _, height, width, channels = inputs.shape
    split = ops.reshape(inputs, (-1, height, width, groups, channels // groups))
    return ops.reshape(ops.transpose(split, (0, 1, 2, 4, 3)), (-1, height, width, channels))
