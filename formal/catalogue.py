"""All proofs."""

import dataclasses
from functools import partial

from formal import accumulation, combining, order, reading, scanning, sharing, windows
from formal.proof import Proof
from hw.contract.config import PRESETS, Queues, Widths
from hw.contract.descriptor import PIXEL_BITS
from hw.contract.numerics import OUTPUT_ACCUMULATOR_BITS
from hw.contract.tables import bias_record, channel_record, members_record
from hw.rtl import pair_fetch, requantizer
from hw.rtl.arbiter import QUEUE_DEPTH
from hw.rtl.burst import BURST_WORDS
from hw.rtl.interfaces import WRITE

PAYLOAD_BITS = 8
"""Of the queues: no queue looks at its payloads, so one width stands for all."""


def queue_depths() -> list[int]:
    """The smallest depths, and all that the presets and the arbiters use."""
    configured = {getattr(config.queues, item.name) for config in PRESETS.values() for item in dataclasses.fields(Queues)}
    return sorted({2, 3, QUEUE_DEPTH, *reserved_depths()} | configured)


def reserved_depths() -> list[int]:
    """Depths of queues with reserved places: the smallest, and all that the presets use."""
    return sorted(
        {3} | {depth(config) for config in PRESETS.values() for depth in (pair_fetch.queue_depth, requantizer.queue_depth)}
    )


def proofs() -> list[Proof]:
    """In the order in which they are run: quick ones first in each group."""
    large = PRESETS["large"]
    records = {"channel": channel_record(large), "bias": bias_record(large), "members": members_record(large)}
    found = [
        Proof(f"queue-{depth}", partial(order.queue, PAYLOAD_BITS, depth), quick=depth in (2, 3)) for depth in queue_depths()
    ]
    found += [
        Proof(f"reserved-queue-{places}", partial(order.reserved_queue, PAYLOAD_BITS, places), quick=places == 3)
        for places in reserved_depths()
    ]
    found += [
        Proof(f"reduction-{lanes}", partial(sharing.reduction, dataclasses.replace(large, lanes=lanes)), quick=lanes == 2)
        for lanes in (1, 2, 8)
    ]
    found += [
        Proof(f"lane-turns-{lanes}", partial(sharing.lane_turns, dataclasses.replace(large, lanes=lanes)), quick=lanes == 2)
        for lanes in (2, 8)
    ]
    found += [
        Proof(f"stream-arbiter-{clients}", partial(sharing.stream_arbiter, WRITE, clients), quick=clients == 1)
        for clients in (1, 3, 4)
    ]
    found += [
        Proof(f"read-arbiter-{clients}-{background}", partial(sharing.read_arbiter, clients, 4, background), depth=3)
        for clients, background in ((1, 0), (3, 0), (3, 1))
    ]
    found += [Proof("write-combiner", combining.write_combiner, quick=True)]
    found += [
        Proof("burst-requester-narrow", partial(reading.burst_requester, 8, 4), cover_depth=8),
        Proof("burst-requester", partial(reading.burst_requester, PIXEL_BITS, BURST_WORDS), cover_depth=8),
    ]
    found += [
        Proof(f"record-reader-{name}", partial(reading.record_reader, record), quick=name == "bias")
        for name, record in records.items()
    ]
    five = dataclasses.replace(large, kernel=5)
    found += [Proof("record-reader-of-kernels", partial(reading.record_reader, channel_record(five), channel_record(large)))]
    found += [
        Proof(f"survivor-scan-{channels}x{rows}", partial(scanning.survivor_search, channels, rows), cover_depth=18)
        for channels, rows in ((2, 4), (4, 4))
    ]
    found += [Proof(f"scan-numbers-{channels}", partial(scanning.pair_numbers, channels)) for channels in (4, 16)]
    found += [Proof("windows", partial(windows.windows, PRESETS["tiny"]), cover_depth=24)]
    configuration = accumulation.accumulator_configuration(Widths())
    found += [
        Proof(f"accumulator-entry-{tap}", partial(accumulation.entry, configuration, tap), depth=1)
        for tap in range(configuration.taps)
    ]
    found += [Proof("accumulator-bias", partial(accumulation.bias, configuration), depth=1)]
    found += [
        Proof(f"never-wraps-{bits}", partial(accumulation.never_wraps, bits), quick=True)
        for bits in (Widths().accumulator, OUTPUT_ACCUMULATOR_BITS)
    ]
    return found
