"""Every job that is planned, of networks and of single layers of all kinds, keeps the rules for descriptors."""

import random

import pytest

from hw.contract.config import ArchonConfig, preset
from hw.contract.rules import broken_rules, choose, cluster_rules, image_rules, same
from sim.hardware import choose_hardware
from sim.small_network import make_network, small_spec
from sim.soak.case import draw
from sw.bundle import find_bundle, known_bundles, load_bundle
from sw.program import MemoryImage, build_image, network_image
from tb import block_cases, fixed_cases, kinds_cases
from tb.block_tests import placed_blocks
from tb.descriptors import flipped

FLIPS = 4000


def check_rules(image: MemoryImage, config: ArchonConfig) -> None:
    """AssertionError where a job breaks a rule."""
    for job in image.network_program.jobs:
        broken = broken_rules(job.fields, config)
        assert not broken, f"{job.layer}, group {job.group}: {', '.join(broken)} in {job.fields}"


@pytest.mark.parametrize("name", known_bundles())
def test_networks_keep_the_rules(name: str) -> None:
    hardware = choose_hardware(load_bundle(find_bundle(name)))
    check_rules(hardware.image, hardware.config)


@pytest.mark.parametrize("variant", kinds_cases.VARIANTS)
def test_small_networks_keep_the_rules(variant: str) -> None:
    config = kinds_cases.VARIANTS[variant]
    check_rules(network_image(make_network(small_spec()), config), config)
    for case in kinds_cases.cases_of(config):
        check_rules(network_image(kinds_cases.make_network(case, 3)[0], config), config)


@pytest.mark.parametrize("variant", fixed_cases.VARIANTS)
def test_layers_that_are_not_fused_keep_the_rules(variant: str) -> None:
    config = fixed_cases.VARIANTS[variant]
    for case in fixed_cases.cases_of(config):
        check_rules(build_image(fixed_cases.make_layers(case, config, 7), config), config)


@pytest.mark.parametrize("variant", block_cases.VARIANTS)
def test_blocks_keep_the_rules(variant: str) -> None:
    config = block_cases.VARIANTS[variant]
    for case in (*block_cases.directed(config), *(block_cases.random_case(seed, config.kernel) for seed in range(20))):
        check_rules(build_image(placed_blocks(case, 5), config), config)


def test_random_networks_keep_the_rules() -> None:
    for seed in range(40):
        circumstances, drawn = draw(seed)
        check_rules(drawn.image, circumstances.config)


def test_every_rule_can_be_broken() -> None:
    """By a few inverted bits of jobs of a small network, on the memories of the preset tiny."""
    config, rng = preset("tiny"), random.Random(1)
    jobs = [job.fields for job in network_image(make_network(small_spec()), config).network_program.jobs]
    names, seen = {"cluster"}, set[str]()
    for unit in (cluster_rules, image_rules):
        rules, products = unit(jobs[0], config, choose, same)
        names |= {*rules, *(product.name for product in products)}
    for _ in range(FLIPS):
        seen.update(broken_rules(flipped(rng.choice(jobs), rng, rng.randint(1, 3)), config))
    assert seen == names
