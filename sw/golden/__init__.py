"""The golden model: a network in exact integers, layer by layer and fused. It knows nothing of the RTL."""

from sw.golden.cost import LayerCost, layer_costs
from sw.golden.counting import BlockCounts, fixed_multiplications
from sw.golden.evaluation import Evaluation, evaluate
from sw.golden.inspection import BlockInspection, ErrorWeight, ReluInspection
from sw.golden.network import NetworkRun, run, run_block, run_block_layerwise
from sw.golden.random_block import random_activation, random_block
from sw.golden.statistics import BlockStatistics, MaskStatistics

__all__ = [
    "BlockCounts",
    "BlockInspection",
    "BlockStatistics",
    "ErrorWeight",
    "Evaluation",
    "LayerCost",
    "MaskStatistics",
    "NetworkRun",
    "ReluInspection",
    "evaluate",
    "fixed_multiplications",
    "layer_costs",
    "random_activation",
    "random_block",
    "run",
    "run_block",
    "run_block_layerwise",
]
