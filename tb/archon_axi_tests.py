"""The accelerator on its buses: whole programs under pauses, and every way to stop one, each followed by a sound run."""

import contextlib
import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
import pytest

from hw.contract.axi import WORD_BYTES, Response
from hw.contract.descriptor import DESCRIPTOR_WORDS, JOB
from hw.contract.errors import ArchonError
from hw.contract.layout import int_to_words, words_to_int
from hw.contract.registers import OFFSETS, ErrorCode
from hw.contract.rules import broken_rules
from tb.axi_accelerator import AxiAccelerator
from tb.bench import configuration
from tb.block_cases import DIRECTED, BlockCase
from tb.descriptors import flipped
from tb.streams import PATTERNS

PATIENCE = {"timeout_time": 20, "timeout_unit": "ms"}
"""Simulated time in which every test ends: 2,000,000 cycles."""

FLIPS = 200

OUTCOMES_FILE = "flipped_bits.json"
"""In the working directory: how many runs of flipped_bits_never_hang ended with which error code or numbers."""

EQUAL, OTHER = "ended with equal numbers", "ended with other numbers"
"""What runs end with that are not stopped."""

CASES = {case.name: case for case in DIRECTED}
SMALL, CHAIN = CASES["stride 2, odd"], CASES["chain"]


def accelerator(dut: Any, case: BlockCase, held: str, depth: int = 8) -> AxiAccelerator:
    """The design with a case's program."""
    return AxiAccelerator(dut, case, configuration(), held, depth)


@cocotb.test(**PATIENCE)
@cocotb.parametrize(name=["chain", "four groups, residual, shuffle", "chain in which clusters end apart"], held=list(PATTERNS))
async def programs_run(dut: Any, name: str, held: str) -> None:
    """Two runs with different activations."""
    machine = accelerator(dut, CASES[name], held)
    await machine.start()
    for _ in range(2):
        result = await machine.run()
        assert result.counters["words_read"] == machine.memory.words_read
        assert result.counters["words_written"] == machine.memory.words_written
        machine.memory.words_read = machine.memory.words_written = 0


@cocotb.test(**PATIENCE)
@cocotb.parametrize(held=["never", "bursts"])
async def barriers_wait_for_memory(dut: Any, held: str) -> None:
    """Memory that takes many writes at once and lets them land slowly: blocks read what the blocks before wrote."""
    machine = accelerator(dut, CHAIN, held, depth=64)
    machine.memory.delay_writes(40)
    await machine.start()
    await machine.run()


@cocotb.test(**PATIENCE)
@cocotb.parametrize(held=list(PATTERNS), direction=["read", "write"])
async def errors_of_memory_stop(dut: Any, held: str, direction: str) -> None:
    """SLVERR and DECERR on any word, the first and the last, too."""
    machine = accelerator(dut, SMALL, held)
    await machine.start()
    counters = (await machine.run()).counters
    words = counters["words_read" if direction == "read" else "words_written"]
    code = ErrorCode.READ_RESPONSE if direction == "read" else ErrorCode.WRITE_RESPONSE
    rng = machine.bench.random
    for number in (0, words - 1, rng.randrange(words), rng.randrange(words)):
        await machine.lay()
        memory, fault = machine.memory, rng.choice([Response.SLVERR, Response.DECERR])
        memory.words_read = memory.words_written = 0
        memory.read_faults, memory.write_faults = ({number: fault}, {}) if direction == "read" else ({}, {number: fault})
        message = await machine.fails(code.name)
        address = int(message.rpartition(" ")[2], 16)
        window = machine.regions.read if direction == "read" else machine.regions.write
        assert window[0] <= address < window[1], message
        memory.read_faults, memory.write_faults = {}, {}
        assert not dut.interrupt.value, "the interrupt stays after the error was cleared"
        await machine.run()


@cocotb.test(**PATIENCE)
@cocotb.parametrize(held=["never", "mostly"])
async def a_missing_cluster_stops(dut: Any, held: str) -> None:
    """The first, the last or any descriptor between names a cluster that is not there."""
    machine = accelerator(dut, CHAIN, held)
    await machine.start()
    for job in {0, machine.jobs - 1, machine.bench.random.randrange(machine.jobs)}:
        await machine.lay()
        await change_job(machine, job, cluster=machine.config.image_unit + 1)
        await machine.fails(ErrorCode.DESCRIPTOR.name)
    await machine.run()


@cocotb.test(**PATIENCE)
@cocotb.parametrize(held=["never", "bursts"], changes=[{"table_words": 1}, {"output_rows": 0}, {"slices": 0}, {"planes": 0}])
async def a_descriptor_that_leads_nowhere_stops(dut: Any, held: str, changes: dict[str, int]) -> None:
    """Whatever it makes the accelerator do, the run ends one way or the other, and the next one is sound."""
    machine = accelerator(dut, SMALL, held)
    await machine.start()
    await machine.configure(machine.regions, 3000)
    await machine.lay()
    await change_job(machine, machine.jobs - 1, **changes)
    with contextlib.suppress(ArchonError):
        await machine.driver.run(machine.image.network_program.address)
    await machine.run()


@cocotb.test(**PATIENCE)
@cocotb.parametrize(field=["table_words", "input_width", "turns", "output_channels", "slices"], by=[-1, 1])
async def a_descriptor_that_breaks_a_rule_is_named(dut: Any, field: str, by: int) -> None:
    """With its number; a table segment that is too short or too long with its job's number."""
    machine = accelerator(dut, CHAIN, "rarely")
    await machine.start()
    await machine.lay()
    job = machine.bench.random.randrange(machine.jobs)
    await change_job(machine, job, **{field: machine.image.network_program.jobs[job].fields[field] + by})
    message = await machine.fails("TABLES" if field == "table_words" else "DESCRIPTOR|TABLES")
    assert message.endswith(f"job descriptor {job}"), message
    await machine.run()


@cocotb.test(timeout_time=200, timeout_unit="ms")
async def flipped_bits_never_hang(dut: Any) -> None:
    """Some bits of one descriptor are inverted: the run is stopped, or gives the right or another result, and never stalls.

    Another result is that of another program: every address lay in the windows (the memory agent insists), and the
    descriptor keeps all rules.
    """
    machine = accelerator(dut, SMALL, "never")
    await machine.start()
    await machine.configure(machine.regions, 3000)
    outcomes: Counter[str] = Counter()
    for _ in range(FLIPS):
        expected = await machine.lay()
        number = machine.bench.random.randrange(machine.jobs)
        fields = machine.image.network_program.jobs[number].fields
        changed = flipped(fields, machine.bench.random, machine.bench.random.choice([1, 1, 2, 5]))
        await change_job(machine, number, **changed)
        broken, stopped = broken_rules(changed, machine.config), ""
        try:
            await machine.driver.run(machine.image.network_program.address)
        except ArchonError as error:
            stopped = str(error).split("with ")[1].split()[0]
        assert not broken or stopped == ErrorCode.DESCRIPTOR.name, f"broken: {broken}, stopped with: {stopped}"
        if stopped:
            outcomes[stopped] += 1
            if stopped == ErrorCode.STALLED.name:
                wrong = {name: (value, changed[name]) for name, value in fields.items() if value != changed[name]}
                cocotb.log.info("stalled: %s of %s", wrong, fields)
            continue
        program = slice(machine.image.activation_address, None)
        got = await machine.driver.fetch(0, len(expected))
        outcomes[EQUAL if (got[program] == expected[program]).all() else OTHER] += 1
    cocotb.log.info("outcomes of %d flips: %s", FLIPS, dict(outcomes))
    Path(OUTCOMES_FILE).write_text(json.dumps(outcomes, indent=2) + "\n", encoding="utf-8")
    assert outcomes[ErrorCode.DESCRIPTOR.name]
    assert not outcomes[ErrorCode.STALLED.name], "a descriptor that keeps the rules stalled"
    await machine.configure(machine.regions)
    await machine.run()


@cocotb.test(**PATIENCE)
@cocotb.parametrize(held=list(PATTERNS))
async def nothing_outside_the_windows_is_issued(dut: Any, held: str) -> None:
    """The memory agent fails the test on any address outside; windows end one byte too early or begin one too late."""
    machine = accelerator(dut, SMALL, held)
    await machine.start()
    (read_base, read_limit), (write_base, write_limit) = machine.regions.read, machine.regions.write
    activations = machine.image.activation_address * WORD_BYTES + read_base
    outputs = machine.image.tensors["block 1"].address * WORD_BYTES + read_base
    cases: list[tuple[ErrorCode, dict[str, Any]]] = [
        (ErrorCode.READ_OUTSIDE, {"read": (0, 0)}),
        (ErrorCode.READ_OUTSIDE, {"read": (read_base + 1, read_limit)}),
        (ErrorCode.READ_OUTSIDE, {"read": (read_base, activations)}),
        (ErrorCode.WRITE_OUTSIDE, {"write": (0, 0)}),
        (ErrorCode.WRITE_OUTSIDE, {"write": (outputs + 1, write_limit)}),
        (ErrorCode.WRITE_OUTSIDE, {"write": (write_base, write_limit - 1)}),
        (ErrorCode.WRITE_OUTSIDE, {"write": (write_base, outputs)}),
    ]
    for code, windows in cases:
        await machine.lay()
        await machine.configure(dataclasses.replace(machine.regions, **windows))
        message = await machine.fails(code.name)
        cocotb.log.info("%s: %s", windows, message)
    await machine.lay()
    await machine.configure(machine.regions)
    await change_job(machine, 0, output_address=(1 << 32) - 1)
    await machine.fails(ErrorCode.WRITE_OUTSIDE.name)
    await machine.run()


@cocotb.test(**PATIENCE)
@cocotb.parametrize(held=["never", "mostly"], how=["reset", "abort"])
async def a_run_cut_short_leaves_no_trace(dut: Any, held: str, how: str) -> None:
    """A reset of everything, or the host's abort, while the run starts, loads or computes."""
    machine = accelerator(dut, SMALL, held)
    await machine.start()
    cycles = (await machine.run()).counters["cycles"]
    for _ in range(4):
        await machine.lay()
        await machine.driver.start(machine.image.network_program.address)
        await machine.bench.cycles(machine.bench.random.randrange(cycles * 3 // 4))
        if how == "reset":
            await machine.start()
        else:
            await machine.driver.abort()
            with pytest.raises(ArchonError, match="ABORTED"):
                await machine.driver.finish()
        await machine.run()


@cocotb.test(**PATIENCE)
async def memory_that_does_not_answer(dut: Any) -> None:
    """The host is told; when memory goes on, so does the accelerator."""
    machine = accelerator(dut, SMALL, "never")
    await machine.start()
    await machine.configure(machine.regions, 500)
    await machine.lay()
    await machine.driver.start(machine.image.network_program.address)
    await machine.bench.until(lambda: machine.memory.words_read > 40, "reading")
    machine.memory.freeze()
    with pytest.raises(ArchonError, match=r"STALLED .* memory does not answer"):
        await machine.driver.finish()
    with pytest.raises(ArchonError, match="the accelerator is busy"):
        await machine.driver.run(machine.image.network_program.address)
    machine.memory.freeze(frozen=False)
    await machine.bench.cycles(2000)
    await machine.run()


@cocotb.test(**PATIENCE)
async def registers_during_a_run(dut: Any) -> None:
    """Configuration is locked; a second start and an abort without a run change nothing; counters come as snapshots."""
    machine = accelerator(dut, CHAIN, "rarely")
    await machine.bench.reset()
    assert vars(await machine.driver.check()) == {
        "clusters": machine.config.clusters,
        "lanes": machine.config.lanes,
        "slice_channels": machine.config.slice_channels,
        "kernel": machine.config.kernel,
    }
    await machine.configure(machine.regions)
    await machine.driver.abort()
    expected = await machine.lay()
    await machine.driver.start(machine.image.network_program.address)
    with pytest.raises(ArchonError, match=f"{OFFSETS['memory_base']:#x} failed with SLVERR"):
        await machine.driver.configure(dataclasses.replace(machine.regions, base=0))
    first, second = await machine.driver.snapshot(), await machine.driver.snapshot()
    assert 0 < first["cycles"] < second["cycles"]
    assert first["words_read"] <= second["words_read"]
    await machine.check(expected, await machine.driver.finish())


@cocotb.test(**PATIENCE)
async def reports_beyond_capacity(dut: Any) -> None:
    """They are counted and not written."""
    machine = accelerator(dut, CHAIN, "never")
    await machine.start()
    await machine.configure(dataclasses.replace(machine.regions, report_capacity=2))
    await machine.lay()
    result = await machine.driver.run(machine.image.network_program.address)
    assert (len(result.reports), result.counters["jobs"]) == (2, machine.jobs)
    await machine.configure(machine.regions)
    await machine.run()


async def change_job(machine: AxiAccelerator, job: int, /, **changes: int) -> None:
    """Change fields of a descriptor in memory."""
    place = machine.image.network_program.address + job * DESCRIPTOR_WORDS
    words = await machine.driver.fetch(place, JOB.words)
    fields: dict[str, Any] = JOB.unpack(words_to_int(words) & ((1 << JOB.width) - 1))
    packed = int_to_words(JOB.pack(fields | changes), JOB.words)
    await machine.driver.load(np.array(packed, dtype=np.uint64), place)
