"""Seeds whose networks reach what no seed before reaches, of the combinations that are to be covered (tb.coverage)."""

from collections.abc import Iterable, Iterator, Mapping

from hw.contract.errors import ArchonError
from sim.soak.case import Circumstances, draw, draw_circumstances
from sw.golden import BlockStatistics
from tb.coverage import CROSSES, Point, Sample, hit_points, network_runs, shown_stalls
from tb.random_networks import RandomNetwork

BUS = "native"
"""The layers do not know which bus they are on, and models of one are enough."""


def case_samples(
    circumstances: Circumstances, drawn: RandomNetwork, statistics: Mapping[str, BlockStatistics] | None = None
) -> list[Sample]:
    """What a network shows when it runs; of survivors only with statistics, by layer."""
    stall = shown_stalls(latency=circumstances.latency, held=circumstances.pause, idle=circumstances.idle)
    layers = network_runs(drawn.network.spec.layers, drawn.image, statistics or {})
    return [sample for layer in layers for sample in layer.samples(circumstances.config, stall)]


def covering(seeds: Iterable[int]) -> Iterator[int]:
    """Those of the seeds whose networks show a combination that none before shows."""
    reached: set[tuple[str, Point]] = set()
    for seed in seeds:
        if draw_circumstances(seed).bus != BUS:
            continue
        try:
            samples = case_samples(*draw(seed))
        except ArchonError:
            continue  # no network of the seed fits
        shown = {(cross.name, point) for cross in CROSSES for point in hit_points(cross, samples)}
        if not shown <= reached:
            reached |= shown
            yield seed
