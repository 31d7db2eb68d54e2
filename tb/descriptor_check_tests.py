"""Descriptor check: what it refuses is what the contract's rules refuse."""

from typing import Any

import cocotb

from hw.contract.descriptor import JOB
from hw.contract.rules import broken_rules
from tb.bench import Bench, configuration
from tb.descriptors import flipped, random_job

JOBS = 400


@cocotb.test()
async def rules_are_the_contracts(dut: Any) -> None:
    """Sound jobs, jobs with one bit or some inverted, and jobs of random bits, of every unit."""
    bench, config = Bench(dut, "descriptor check"), configuration()
    rng = bench.random
    dut.start.value = 0
    await bench.reset()
    refused = 0
    for number in range(JOBS):
        unit = rng.randrange(config.image_unit + 1)
        job = random_job(config, rng, unit)
        assert not broken_rules(job, config), f"{broken_rules(job, config)} in {job}"
        if number % 4 == 3:
            job = {item.name: rng.getrandbits(item.bits) for item in JOB.fields} | {"cluster": unit}
        elif number % 4:
            job = flipped(job, rng, number % 4) | {"cluster": unit}
        dut.job.value = JOB.pack(job)
        dut.start.value = 1
        await bench.cycles(1)
        dut.start.value = 0
        await bench.cycles(1)
        await bench.until(lambda: dut.done.value, "the end of the check")
        broken = broken_rules(job, config)
        assert bool(dut.bad.value) == bool(broken), f"broken rules: {broken}, refused: {bool(dut.bad.value)}: {job}"
        refused += bool(broken)
    assert JOBS // 4 < refused < JOBS * 3 // 4
