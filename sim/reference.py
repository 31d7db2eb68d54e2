"""What the golden model says about a network and its images, in the form that a run compares and reports."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from sw.bundle.network import IntegerNetwork
from sw.golden import BlockStatistics, LayerCost, layer_costs, run
from sw.golden import classify as golden_classify

Tensor = NDArray[np.int8]


@dataclass(frozen=True)
class LayerFacts:
    """A layer's multiplications for one image, and for a fused block survivors and agreement over all images."""

    cost: LayerCost
    statistics: BlockStatistics | None

    @property
    def fused(self) -> bool:
        """Whether the accelerator runs the layer."""
        return self.statistics is not None


@dataclass(frozen=True)
class Reference:
    """The golden model's view of all images.

    Args:
        inputs: First block's input (channels, height, width) of every image.
        block_outputs: For every image, block name to output tensor, in the order in which blocks run.
        block_counts: For every image, block name to the counters of sim.compare.COUNTERS.
        layers: All layers of the network, in the order in which they run.
    """

    inputs: list[Tensor]
    block_outputs: list[Mapping[str, Tensor]]
    block_counts: list[Mapping[str, Mapping[str, int]]]
    layers: list[LayerFacts]

    @property
    def most_steps(self) -> int:
        """Steps of accumulation of the image that takes most."""
        return max(sum(counts["steps"] for counts in blocks.values()) for blocks in self.block_counts)


def make_reference(network: IntegerNetwork, images: NDArray[np.uint8]) -> Reference:
    """Run the golden model, fused as the accelerator does it.

    Args:
        network: What is run.
        images: (images, height, width, channels).
    """
    golden = run(network, images, "fused", keep_activations=True)
    if golden.block_inputs is None:
        raise AssertionError("the golden model kept no activations")
    numbers, blocks = range(len(images)), list(golden.counts)
    return Reference(
        inputs=[golden.block_inputs[number] for number in numbers],
        block_outputs=[{block: golden.activations[block][number] for block in blocks} for number in numbers],
        block_counts=[{block: asdict(golden.counts[block][number]) for block in blocks} for number in numbers],
        layers=[LayerFacts(cost, golden.statistics.get(cost.name)) for cost in layer_costs(network)],
    )


def classify(network: IntegerNetwork, last_outputs: list[Tensor]) -> list[int]:
    """Classes by the layers behind the last block, from that block's output (channels, height, width) of every image."""
    return [int(label) for label in golden_classify(network, np.stack(last_outputs)).argmax(axis=1)]
