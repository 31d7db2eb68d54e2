"""What the golden model says about a network and its images, in the form that a run compares and reports."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from sw.bundle.network import IntegerNetwork
from sw.golden import BlockStatistics, LayerCost, fixed_multiplications, layer_costs, run
from sw.program import MemoryImage, image_windows

Tensor = NDArray[np.integer]


@dataclass(frozen=True)
class LayerFacts:
    """A layer's multiplications for one image, and for a fused block survivors and agreement over all images."""

    cost: LayerCost
    statistics: BlockStatistics | None


@dataclass(frozen=True)
class Reference:
    """What has to come out for all images.

    Args:
        inputs: Every raw image, uint8 (channels, height, width).
        outputs: For every image, layer name to output tensor (channels, height, width), in the order in which layers run;
            int8, the last one's logits int32.
        counts: For every image, layer name to the counters of sim.compare.COUNTERS.
        layers: All layers of the network, in the order in which they run.
    """

    inputs: list[Tensor]
    outputs: list[Mapping[str, Tensor]]
    counts: list[Mapping[str, Mapping[str, int]]]
    layers: list[LayerFacts]

    @property
    def most_steps(self) -> int:
        """Steps of accumulation of the image that takes most."""
        return max(sum(of_layer["steps"] for of_layer in counts.values()) for counts in self.counts)


def make_reference(network: IntegerNetwork, images: NDArray[np.uint8], memory: MemoryImage) -> Reference:
    """Run the golden model, fused as the accelerator does it.

    Args:
        network: What is run.
        images: (images, height, width, channels).
        memory: The network's programs: what loading the weights of layers that are not fused takes depends on their jobs.
    """
    golden = run(network, images, "fused", keep_activations=True)
    multiplications = fixed_multiplications(network)
    fixed = {
        name: {"multiplications": multiplications[name], "additions": loads.additions, "steps": loads.steps}
        for name, loads in memory.loads.items()
    }
    windows = np.stack([image_windows(image, network.image_levels, network.spec.stem.stride) for image in images])
    tensors: Mapping[str, Tensor] = {"image": windows, **golden.activations, "dense": golden.logits}
    names = [program.name for program in memory.layer_programs]
    outputs: list[Mapping[str, Tensor]] = []
    counts: list[Mapping[str, Mapping[str, int]]] = []
    for number in range(len(images)):
        outputs.append({name: tensors[name][number].reshape(memory.tensors[name].shape) for name in names})
        fused = {name: asdict(golden.counts[name][number]) for name in golden.counts}
        counts.append({name: fixed[name] if name in fixed else fused[name] for name in names})
    return Reference(
        inputs=[image.transpose(2, 0, 1) for image in images],
        outputs=outputs,
        counts=counts,
        layers=[LayerFacts(cost, golden.statistics.get(cost.name)) for cost in layer_costs(network)],
    )
