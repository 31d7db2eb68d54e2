"""A network's page: every section, numbers as the golden model has them, no other file needed; what is refused."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from sw.bundle import load_bundle, save_bundle
from sw.bundle.network import IntegerNetwork
from sw.datasets import load_excerpt
from sw.export.random_network import Survivors, random_network
from sw.golden import MaskStatistics, NetworkRun, run
from sw.page.command import report
from sw.page.maps import picture_address
from sw.spec import parse_spec

IMAGES = 2
SECTIONS = ["accuracy", "sparsity", "survivors", "predictions", "errors", "multiplications"]
PREDICTED = SECTIONS[2:5]
"""Sections about predicted ReLUs."""

BLOCK = {"kernel": 3, "groups": 2, "stride": 1}
FUSED = {**BLOCK, "in_channels": 4, "expanded_channels": 14, "out_channels": 8, "stride": 2, "residual": False, "shuffle": True}
PAIR = {**BLOCK, "kind": "pointwise_pair", "in_channels": 8, "expanded_channels": 18, "out_channels": 8, "inner_shuffle": True}
UNFUSED = {**BLOCK, "kind": "unfused", "in_channels": 8, "expanded_channels": 12, "out_channels": 8}
EXCITED = {
    **BLOCK, "in_channels": 8, "expanded_channels": 16, "out_channels": 8, "residual": True, "shuffle": True,
    "squeeze_and_excite": True, "squeezed_channels": 4,
}  # fmt: skip
VOID = {"meta", "link", "img", "br"}


@dataclass
class Page(HTMLParser):
    """What a browser would see: addresses, names, texts and tables of sections."""

    text: str
    addresses: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    sections: dict[str, str] = field(default_factory=dict)
    pictures: list[tuple[str, str]] = field(default_factory=list)
    """Address and description of every picture of pixels."""
    svgs: dict[str, list[str]] = field(default_factory=dict)
    """Section to what its drawings say that they show."""
    rows: dict[str, list[list[str]]] = field(default_factory=dict)
    """Section to the cells of its tables' rows, without headings."""
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.section, self.in_cell = "", False
        self.feed(self.text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.addresses += [value for name, value in given.items() if name in {"src", "href", "xlink:href", "data", "srcset"}]
        self.ids += [given["id"]] if "id" in given else []
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = given["id"]
            self.sections[self.section], self.svgs[self.section], self.rows[self.section] = "", [], []
        elif tag == "svg":
            self.svgs[self.section].append(given["aria-label"])
        elif tag == "img":
            self.pictures.append((given["src"], given["alt"]))
        elif tag == "tr":
            self.rows[self.section].append([])
        elif tag == "td":
            self.rows[self.section][-1].append("")
            self.in_cell = True

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "section":
            self.section = ""
        elif tag == "td":
            self.in_cell = False

    def handle_data(self, data: str) -> None:
        if self.section:
            self.sections[self.section] += data
        if self.in_cell:
            self.rows[self.section][-1][-1] += data

    def table(self, section: str, columns: int) -> list[list[str]]:
        """Rows of a section's table that has so many columns."""
        return [[cell.strip() for cell in row] for row in self.rows[section] if len(row) == columns]


def make_network(blocks: list[dict[str, Any]], **changes: object) -> IntegerNetwork:
    spec = parse_spec({
        "name": "a & b", "height": 12, "width": 12, "channels": 3, "classes": 10, "blocks": blocks,
        "stem": {"channels": blocks[0]["in_channels"], "kernel": 3, "stride": 1},
        "sparsity": {"pointwise": 0.4, "depthwise": 0.2},
    } | changes)  # fmt: skip
    images = load_excerpt().images[:IMAGES, 10:22, 10:22]
    network = random_network(spec, 3, Survivors(0.5, 0.4), images).network
    return network.replaced(provenance={"weights": "random", "note": "<script>alert('no')</script>"})


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARCHON_DATA", raising=False)


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return make_network([FUSED, PAIR, UNFUSED, EXCITED])


@pytest.fixture(scope="module")
def golden(network: IntegerNetwork) -> NetworkRun:
    return run(network, load_excerpt().images[:IMAGES, 10:22, 10:22], "fused", inspect=True)


@pytest.fixture(scope="module")
def written(network: IntegerNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's file, with its numbers beside it."""
    build = tmp_path_factory.mktemp("build")
    save_bundle(network, build / "it.archon")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ARCHON_DATA", raising=False)
        assert report(str(build / "it.archon"), images=IMAGES, build=build) == 0
    assert not list(build.rglob("*.partial"))
    return build / "a & b" / "a & b.html"


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page(written.read_text(encoding="utf-8"))


def percent(share: float, places: int = 1) -> str:
    return f"{100 * share:.{places}f}"


def test_every_section_has_its_pictures(page: Page) -> None:
    assert list(page.sections) == SECTIONS
    assert {name: len(svgs) for name, svgs in page.svgs.items()} == {
        "accuracy": 0, "sparsity": 1, "survivors": 0, "predictions": 3, "errors": 2, "multiplications": 1
    }  # fmt: skip
    assert len(page.pictures) == IMAGES * (1 + 2 + 1 + 2)
    assert "No run of training was found" in page.sections["accuracy"]
    for section in PREDICTED:
        assert "block 3: unfused, no predicted ReLUs" in page.sections[section]
        assert (
            "block 2: pairs of pointwise layers; the first ReLU is predicted, the second one is exact" in page.sections[section]
        )


def test_no_other_file_is_needed(page: Page) -> None:
    assert page.addresses
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert set(re.findall(r"url\((.)", page.text)) <= {"#"}
    assert "@import" not in page.text
    assert not re.search(r"<(script|iframe|object|embed|base)\b", page.text)
    named = {address[1:] for address in page.addresses if address.startswith("#")} | set(
        re.findall(r"url\(#(.*?)\)", page.text)
    )
    assert named <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_text_is_escaped(page: Page) -> None:
    assert "<h1>a &amp; b</h1>" in page.text
    assert "&lt;script&gt;alert(&#39;no&#39;)&lt;/script&gt;" in page.text


def test_predictions_are_the_golden_models(page: Page, golden: NetworkRun) -> None:
    expected = []
    for layer, statistics in golden.statistics.items():
        second = golden.inspections[layer].second
        relus = [("first", statistics.first)]
        if second is not None:
            relus += [("second", statistics.second), ("second, exact first", second.statistics)]
        expected += [[layer, relu, *decision_cells(counted)] for relu, counted in relus]
    assert page.table("predictions", 9) == expected
    assert len(expected) == 3 + 1 + 3


def decision_cells(counted: MaskStatistics) -> list[str]:
    decisions = counted.true_positives, counted.false_positives, counted.false_negatives, counted.true_negatives
    shares = [percent(number / sum(decisions)) for number in decisions]
    return [f"{sum(decisions):,}", *shares, percent(counted.survivor_share), percent(counted.agreement)]


def test_weights_of_errors_are_the_golden_models(page: Page, golden: NetworkRun) -> None:
    expected = [
        [layer, name, percent(relu.weight.false_positive_share, 2), percent(relu.weight.false_negative_share, 2)]
        for layer, found in golden.inspections.items()
        for name, relu in (("first", found.first), ("second", found.second))
        if relu is not None
    ]
    assert page.table("errors", 4) == expected
    assert all(float(row[3]) > 0 for row in expected)


def test_multiplications_are_the_golden_models(page: Page, network: IntegerNetwork, golden: NetworkRun) -> None:
    *rows, total = page.table("multiplications", 4)
    assert [row[0] for row in rows] == [layer.name for layer in network.spec.layers]
    numbers = {row[0]: [int(cell.replace(",", "")) for cell in row[1:]] for row in rows}
    for name, counts in golden.counts.items():
        assert numbers[name][2] == round(np.mean([count.multiplications for count in counts]))
    for layer in network.spec.layers:
        assert numbers[layer.name][0] == layer.multiply_accumulates
        assert numbers[layer.name][1] <= numbers[layer.name][0]
    assert total[:2] == ["all", f"{network.spec.multiply_accumulates():,}"]


def test_sparsity_is_that_of_the_weights(page: Page, network: IntegerNetwork) -> None:
    rows = {(row[0], row[1]): row[2:] for row in page.table("sparsity", 5)}
    block = network.fused_blocks[0]
    weight = block.predictor_depthwise_weight
    zeros = weight.size - np.count_nonzero(weight)
    assert rows["block 1", "predictor depthwise"] == [f"{weight.size:,}", f"{zeros:,}", percent(zeros / weight.size)]
    assert [part for layer, part in rows if layer == "block 2 pair"] == ["expand", "project", "predictor expand"]
    assert rows["dense", "weights"][0] == f"{network.dense_weight.size:,}"


def test_maps_show_where_activations_survive(page: Page, golden: NetworkRun) -> None:
    first, second = golden.inspections["block 1"].first, golden.inspections["block 1"].second
    assert second is not None
    shares = first.survivors[0], second.survivors[0]
    found = [address for address, title in page.pictures if title.startswith("block 1, ReLU")][:2]
    titles = [title for _, title in page.pictures if title.startswith("block 1, ReLU")][:2]
    assert titles == [f"block 1, ReLU {number}: {percent(share.mean())} % survive" for number, share in enumerate(shares, 1)]
    everything = [relu.survivors for item in golden.inspections.values() for relu in (item.first, item.second) if relu]
    low = np.floor(10 * min(survivors.min() for survivors in everything)) / 10
    high = np.ceil(10 * max(survivors.max() for survivors in everything)) / 10
    for address, share in zip(found, shares, strict=True):
        expected = mpl.colormaps["viridis"]((share - low) / (high - low))
        np.testing.assert_allclose(pixels(address), expected, atol=0.01)
    assert f"{percent(low, 0)} %" in page.sections["survivors"]


def test_test_images_are_shown_as_they_are(page: Page, golden: NetworkRun) -> None:
    excerpt = load_excerpt()
    shown = [(address, title) for address, title in page.pictures if title.startswith("test image")]
    assert [title for _, title in shown] == [f"test image {index}" for index in excerpt.indices[:IMAGES]]
    np.testing.assert_allclose(pixels(shown[0][0])[..., :3], excerpt.images[0, 10:22, 10:22] / 255, atol=1e-6)
    assert len(golden.classes) == len(shown)
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4, 1) * 20
    np.testing.assert_allclose(pixels(picture_address(grey))[..., 0], grey[..., 0] / 255, atol=1e-6)


def pixels(address: str) -> np.ndarray:
    """What is in a picture's address, 0 to 1."""
    content = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return imread(io.BytesIO(content), format="png")


def test_numbers_beside_the_page(written: Path, golden: NetworkRun) -> None:
    numbers = json.loads(written.with_suffix(".json").read_text(encoding="utf-8"))
    assert numbers["images"][0]["index"] == load_excerpt().indices[0]
    first = next(row for row in numbers["confusion"] if (row["layer"], row["relu"]) == ("block 4 fused", "first"))
    assert first == {"layer": "block 4 fused", "relu": "first", **vars(golden.statistics["block 4 fused"].first)}
    assert (numbers["stages"], numbers["integers"], numbers["bundle"]) == ({}, None, "it.archon")


def test_networks_that_predict_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_bundle(make_network([UNFUSED], classes=4), tmp_path / "it.archon")
    assert report(str(tmp_path / "it.archon"), images=1, build=tmp_path) == 0
    path = tmp_path / "a & b" / "a & b.html"
    assert str(path) in capsys.readouterr().out
    found = Page(path.read_text(encoding="utf-8"))
    assert list(found.sections) == SECTIONS
    for section in PREDICTED:
        assert "No block of this network predicts its ReLUs" in found.sections[section]
        assert not found.svgs[section]
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["images"][0]["label"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "nothing"}, "unknown network 'nothing': expected one of"),
        (
            {"network": "shufflenet", "dataset": "svhn"},
            "shufflenet-svhn.archon is missing: expected it, or a bundle that comes",
        ),
        ({"network": "no/such.archon"}, "no/such.archon: expected the file of a bundle, got no such file"),
        ({"network": "fusionet-nano", "dataset": "mnist"}, "unknown data set 'mnist': expected one of"),
        (
            {"network": "it.archon", "dataset": "cifar100"},
            "a & b: expected a data set of 10 classes, got cifar100, which has",
        ),
        ({"network": "fusionet-nano", "images": 0}, "expected 1 to 100 images, got 0"),
        ({"network": "fusionet-nano", "images": 101}, "expected 1 to 100 images, got 101"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    arguments: dict[str, Any], message: str, network: IntegerNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments["network"] == "it.archon":
        save_bundle(network, tmp_path / "it.archon")
        arguments = arguments | {"network": str(tmp_path / "it.archon")}
    assert report(**arguments, build=tmp_path / "build") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "build").exists()


def test_damaged_bundles_are_refused(network: IntegerNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "it.archon"
    save_bundle(network, path)
    path.write_bytes(path.read_bytes()[:-100])
    assert report(str(path), build=tmp_path / "build") == 2
    assert "expected a whole bundle (a zip file)" in capsys.readouterr().err
    save_bundle(network, path)
    assert load_bundle(path).spec == network.spec
