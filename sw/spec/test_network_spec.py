"""Network descriptions: published sizes, refused faults."""

from pathlib import Path
from typing import Any

import pytest

from hw.contract.errors import ArchonError
from sw.spec import BlockShape, known_specs, load_spec, parse_spec
from sw.spec.network_spec import SPEC_FOLDER

FAMILIES = tuple(
    f"{family}{variant}{size}"
    for family in ("mnasnet", "mobilenetv2", "shufflenet")
    for variant in ("", "-modified")
    for size in ("", "-nano")
)


def described(**changes: Any) -> dict[str, Any]:
    values = load_spec("fusionet-nano").model_dump()
    return values | changes


def with_block(index: int, **changes: Any) -> dict[str, Any]:
    values = described()
    blocks = list(values["blocks"])
    blocks[index] = blocks[index] | changes
    return values | {"blocks": blocks}


def test_fusionet_has_the_published_size() -> None:
    spec = load_spec("fusionet")
    assert len(spec.blocks) == 16
    assert round(spec.multiply_accumulates() / 1e6) == 414
    assert round(spec.parameters() / 1e6, 1) == 2.7


def test_nano_size_by_hand() -> None:
    spec = load_spec("fusionet-nano")
    front = 256 * (32 * 27 + 32 * 8 + 32 * 9)
    first = 256 * (192 * 8 + 192 * 9 + 32 * 48)
    second = 256 * 192 * 8 + 64 * (192 * 9 + 64 * 48)
    others = 3 * 64 * (384 * 16 + 384 * 9 + 64 * 96)
    assert spec.multiply_accumulates() == front + first + second + others + 64 * 256 * 16 + 2560


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_paper_sized_and_a_nano_network(name: str) -> None:
    spec = load_spec(name)
    assert spec.name == name
    assert (spec.height, spec.width, spec.classes) == (32, 32, 10)
    kinds = {block.kind for block in spec.blocks}
    fused = {"shufflenet": "pointwise_pair"}.get(name.split("-", maxsplit=1)[0], "fused")
    assert (fused in kinds) == ("modified" in name)
    assert kinds <= {"unfused", fused}
    if name.endswith("-nano"):
        assert spec.multiply_accumulates() < load_spec(name.removesuffix("-nano")).multiply_accumulates() / 20


def test_another_number_of_classes_has_its_own_name() -> None:
    spec, other = load_spec("shufflenet"), load_spec("shufflenet").with_classes(100)
    assert (other.name, other.classes, other.blocks) == ("shufflenet-100", 100, spec.blocks)
    assert other.parameters() - spec.parameters() == 90 * (960 + 1)
    with pytest.raises(ArchonError, match=r"classes: .*greater than 0, got 0"):
        spec.with_classes(0)


def test_a_file_says_what_else_is_different_with_more_classes(tmp_path: Path) -> None:
    spec, other = load_spec("fusionet"), load_spec("fusionet", 100)
    assert (other.name, other.classes, other.blocks) == ("fusionet-100", 100, spec.blocks)
    assert spec.last_pointwise is not None
    assert other.last_pointwise == spec.last_pointwise.model_copy(update={"channels": 1280})
    assert load_spec("fusionet", 10) == spec
    assert load_spec("fusionet", 20).last_pointwise == spec.last_pointwise
    path = tmp_path / "wrong.toml"
    text = (SPEC_FOLDER / "fusionet.toml").read_text(encoding="utf-8")
    path.write_text(text.replace("[with_classes.100.last_pointwise]", "[with_classes.100.first]"), encoding="utf-8")
    with pytest.raises(ArchonError, match=r"network description: first: extra inputs are not permitted"):
        load_spec(path, 100)


def test_sizes_round_up_at_odd_edges() -> None:
    shapes = parse_spec(described(height=29, width=30)).block_shapes()
    assert shapes[1] == BlockShape(in_height=15, in_width=15, out_height=8, out_width=8)


def test_a_path_is_read_like_a_name(tmp_path: Path) -> None:
    copy = tmp_path / "copy.toml"
    copy.write_bytes((Path(__file__).parent / "fusionet.toml").read_bytes())
    assert load_spec(copy) == load_spec("fusionet")


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ArchonError, match=r"'resnet'.*fusionet, fusionet-nano, fusionet-slim, "):
        load_spec("resnet")
    assert set(known_specs()) >= {"fusionet", "fusionet-nano", "fusionet-slim", *FAMILIES}
    assert list(known_specs()) == sorted(known_specs())


def test_missing_and_malformed_files(tmp_path: Path) -> None:
    with pytest.raises(ArchonError, match="cannot be read"):
        load_spec(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(ArchonError, match="not valid TOML"):
        load_spec(broken)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (with_block(1, in_channels=48), r"block 1: in_channels must be 32.*got 48"),
        (with_block(1, residual=True), r"block 1: residual needs stride 1 .*got stride 2, 32 and 64"),
        (with_block(0, expanded_channels=190), r"block 0: expanded_channels 190 must be divisible by groups 4"),
        (with_block(2, kernel=7), r"block 2: kernel must be 3 or 5, got 7"),
        (with_block(2, stride=3), r"block 2: stride must be 1 or 2, got 3"),
        (with_block(2, groups=0), r"blocks\.2\.groups: .*greater than 0, got 0"),
        (with_block(2, stride="1"), r"blocks\.2\.stride: .*integer, got '1'"),
        (with_block(2, expansion=6), r"blocks\.2\.expansion: .*not permitted, got 6"),
        (described(blocks=[]), r"blocks: .*at least 1 item"),
        (described(classes=-1), r"classes: .*greater than 0, got -1"),
        (described(sparsity={"pointwise": 1.0, "depthwise": 0.7}), r"sparsity\.pointwise: .*less than 1, got 1\.0"),
        (described(last_pointwise={"channels": 254, "groups": 4}), r"last_pointwise: channels 254 must be divisible"),
        ({name: value for name, value in described().items() if name != "stem"}, r"stem: field required$"),
    ],
)
def test_faults_are_named(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArchonError, match=sentence) as caught:
        parse_spec(values)
    assert "\n" not in str(caught.value)
