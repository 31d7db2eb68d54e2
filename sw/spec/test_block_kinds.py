"""Networks with blocks of other kinds than fused ones: their layers, published sizes, refused faults."""

from typing import Any

import pytest

from hw.contract.errors import ArchonError
from sw.spec import BlockSpec, NetworkSpec, UnfusedSpec, load_spec, parse_spec

UNFUSED = {
    "kind": "unfused", "in_channels": 6, "expanded_channels": 12, "out_channels": 9, "kernel": 3, "stride": 2, "groups": 3
}  # fmt: skip
PAIR = UNFUSED | {"kind": "pointwise_pair", "inner_shuffle": True}
FUSED = {
    "in_channels": 9, "expanded_channels": 8, "out_channels": 4, "kernel": 3, "stride": 1, "groups": 1, "residual": False,
    "shuffle": False,
}  # fmt: skip


def described(*blocks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "name": "kinds", "height": 13, "width": 10, "channels": 3, "classes": 5,
        "stem": {"channels": 6, "kernel": 3, "stride": 1},
        "blocks": list(blocks or (UNFUSED, FUSED)),
        "last_pointwise": {"channels": 8, "groups": 1},
        "sparsity": {"pointwise": 0.5, "depthwise": 0.5},
    } | changes  # fmt: skip


def wiring(spec: NetworkSpec) -> list[tuple[Any, ...]]:
    """Name, source, residual, tensor that is written, of the layers of blocks."""
    return [
        (layer.name, layer.source.name, layer.residual, layer.written.name) for layer in spec.layers if layer.block is not None
    ]


def test_mobilenetv2_has_the_published_size() -> None:
    spec = load_spec("mobilenetv2")
    assert len(spec.blocks) == 17
    assert spec.multiply_accumulates() / 1e6 == pytest.approx(297, abs=1)
    assert sum(isinstance(block, UnfusedSpec) and block.residual for block in spec.blocks) == 10
    assert spec.layers[-3].source.shape == (320, 8, 8)
    with pytest.raises(ArchonError, match="mobilenetv2: expected fused blocks only, got kind unfused in block 1"):
        assert spec.fused_blocks


def test_mobilenetv2_modified_has_few_channels_between_wide_blocks() -> None:
    spec = load_spec("mobilenetv2-modified")
    assert [(block.expanded_channels, block.kind) for block in spec.blocks] == [(32, "unfused")] + 14 * [(864, "fused")]
    assert [block.out_channels for block in spec.blocks] == [16, 24, 24, 24, 32, 32, 32, 32, 40, 40, 40, 40, 40, 40, 80]
    assert spec.layers[-3].source.shape == (80, 8, 8)
    with pytest.raises(ArchonError, match="mobilenetv2-modified: expected first_pointwise and first_depthwise, got a network"):
        assert spec.front


def test_mnasnet_by_hand() -> None:
    spec = load_spec("mnasnet")
    # Width in and out, expansion, kernel, width of the gates' layer, pixels in and out.
    rows = [(16, 24, 6, 3, 0, 1024, 1024), (24, 24, 6, 3, 0, 1024, 1024), (24, 40, 3, 5, 6, 1024, 256)]
    rows += [*[(40, 40, 3, 5, 10, 256, 256)] * 2, (40, 80, 6, 3, 0, 256, 256), *[(80, 80, 6, 3, 0, 256, 256)] * 3]
    rows += [(80, 112, 6, 3, 20, 256, 256), (112, 112, 6, 3, 28, 256, 256), (112, 160, 6, 5, 28, 256, 64)]
    rows += [*[(160, 160, 6, 5, 40, 64, 64)] * 2, (160, 320, 6, 3, 0, 64, 64)]
    expected = 1024 * (32 * 27 + 32 * 9 + 32 * 16) + 64 * 320 * 1280 + 12800
    for inputs, outputs, times, kernel, squeezed, before, behind in rows:
        inner = times * inputs
        gates = inner * (2 * squeezed + behind) if squeezed else 0
        expected += before * inputs * inner + behind * inner * (kernel**2 + outputs) + gates
    assert spec.multiply_accumulates() == expected
    assert [block.out_channels for block in spec.blocks[1:]] == [row[1] for row in rows]
    assert sum(block.residual for block in spec.blocks) == 9


def test_mnasnet_modified_by_hand() -> None:
    spec = load_spec("mnasnet-modified")
    blocks = spec.blocks[1:]
    widths = [16, 24, 24, 24, 32, 32, 32, 32, 40, 40, 40, 40, 40, 40, 40, 80]
    assert [block.in_channels for block in blocks] == widths[:-1]
    assert [block.out_channels for block in blocks] == widths[1:]
    assert {(block.expanded_channels, block.kind) for block in blocks} == {(960, "fused")}
    assert [block.kernel for block in blocks] == [3, 3, 5, 5, 5, 3, 3, 3, 3, 3, 3, 5, 5, 5, 3]
    assert [index for index, block in enumerate(blocks) if block.stride == 2] == [2, 8]
    assert [index for index, block in enumerate(blocks) if block.squeeze_and_excite] == [2, 3, 4, 9, 10, 11, 12, 13]
    assert all(block.squeezed_channels in {None, block.out_channels // 4} for block in blocks)
    assert spec.layers[-3].source.shape == (80, 8, 8)


def test_shufflenet_by_hand() -> None:
    spec = load_spec("shufflenet")
    # Width in, inner width, width out, with a residual or a shortcut in front of it, pixels in and out.
    units = [(24, 60, 240, 1024, 1024), *[(240, 60, 240, 1024, 1024)] * 3, (240, 120, 240, 1024, 256)]
    units += [*[(480, 120, 480, 256, 256)] * 7, (480, 240, 480, 256, 64), *[(960, 240, 960, 64, 64)] * 3]
    expected = 1024 * 24 * 27 + 960 * 10
    for inputs, inner, outputs, before, behind in units:
        expected += before * inputs * inner // 3 + behind * (9 * inner + inner * outputs // 3)
    assert spec.multiply_accumulates() == expected
    assert [block.out_channels for block in spec.blocks] == [240] * 4 + [480] * 8 + [960] * 4
    assert spec.layers[-2].source.shape == (960, 8, 8)
    assert sum(block.kind == "unfused" and block.average_pool_shortcut for block in spec.blocks) == 2


def test_shufflenet_modified_by_hand() -> None:
    spec = load_spec("shufflenet-modified")
    widths = [24, 18, 18, 24, 24, 24, 24, 42, 42, 42, 42, 42, 42, 42, 42, 84]
    assert [block.in_channels for block in spec.blocks] == widths[:-1]
    assert [block.expanded_channels for block in spec.blocks] == [2574] * 7 + [2604] * 8
    shortcuts = [index for index, block in enumerate(spec.blocks) if block.kind != "fused" and block.average_pool_shortcut]
    assert shortcuts == [2, 6, 14]
    assert (spec.pooled_channels, spec.layers[-2].source.shape) == (960, (960, 8, 8))


def test_layers_of_an_unfused_block() -> None:
    spec = parse_spec(described())
    assert wiring(spec) == [
        ("block 1 expand", "stem", None, "block 1 expand"),
        ("block 1 depthwise", "block 1 expand", None, "block 1 depthwise"),
        ("block 1 project", "block 1 depthwise", None, "block 1 project"),
        ("block 2", "block 1 project", None, "block 2"),
    ]
    expand, depthwise, project = spec.layers[2:5]
    assert (expand.relu, depthwise.relu, project.relu) == (True, True, False)
    assert [layer.output.shape for layer in (expand, depthwise, project)] == [(12, 13, 10), (12, 7, 5), (9, 7, 5)]
    assert expand.multiply_accumulates == 130 * 12 * 6 // 3
    assert depthwise.multiply_accumulates == 35 * 12 * 9
    assert project.multiply_accumulates == 35 * 9 * 12 // 3


def test_kernels_of_depthwise_layers() -> None:
    of_three = {key: value for key, value in UNFUSED.items() if key != "kernel"}
    larger = UNFUSED | {"kernel": 5, "in_channels": 9}
    spec = parse_spec(described(of_three, larger, FUSED | {"kernel": 5}, PAIR | {"kernel": 5, "in_channels": 4, "groups": 1}))
    layers = {layer.name: layer for layer in spec.layers}
    assert (layers["block 1 depthwise"].kernel, layers["block 1 depthwise"].weights) == (3, 12 * 9)
    assert (layers["block 2 depthwise"].kernel, layers["block 2 depthwise"].weights) == (5, 12 * 25)
    assert layers["block 2 depthwise"].multiply_accumulates == 4 * 3 * 12 * 25
    assert layers["block 2 depthwise"].output.shape == (12, 4, 3)
    assert (layers["block 3"].kernel, layers["block 3"].weights) == (5, 8 * 9 + 8 * 25 + 8 * 4)
    assert (layers["block 4 pair"].kernel, layers["block 4 depthwise"].kernel) == (1, 5)


def test_layers_around_residual_and_shortcut() -> None:
    shortcut = UNFUSED | {"average_pool_shortcut": True, "output_relu": True}
    added = UNFUSED | {
        "in_channels": 9, "stride": 1, "residual": True, "output_relu": True, "expand": False, "expanded_channels": 9
    }  # fmt: skip
    spec = parse_spec(described(shortcut, added))
    assert wiring(spec) == [
        ("block 1 shortcut", "stem", None, "block 1"),
        ("block 1 expand", "stem", None, "block 1 expand"),
        ("block 1 depthwise", "block 1 expand", None, "block 1 depthwise"),
        ("block 1 project", "block 1 depthwise", None, "block 1"),
        ("block 2 depthwise", "block 1", None, "block 2 depthwise"),
        ("block 2 project", "block 2 depthwise", "block 1", "block 2 project"),
        ("block 2 relu", "block 2 project", None, "block 2 relu"),
    ]
    layers = {layer.name: layer for layer in spec.layers}
    assert layers["block 1 project"].first_channel == 6
    assert layers["block 1 project"].output.channels == 3
    assert layers["block 1 project"].written.shape == (9, 7, 5)
    assert (layers["block 1 project"].relu, layers["block 1 shortcut"].relu) == (True, True)
    assert (layers["block 2 project"].relu, layers["block 2 relu"].relu) == (False, True)


def test_layers_of_a_pair() -> None:
    spec = parse_spec(
        described(PAIR | {"average_pool_shortcut": True}, PAIR | {"in_channels": 9, "stride": 1, "residual": True})
    )
    assert wiring(spec) == [
        ("block 1 shortcut", "stem", None, "block 1"),
        ("block 1 pair", "stem", None, "block 1 pair"),
        ("block 1 depthwise", "block 1 pair", None, "block 1"),
        ("block 2 pair", "block 1", None, "block 2 pair"),
        ("block 2 depthwise", "block 2 pair", "block 1", "block 2 depthwise"),
    ]
    layers = {layer.name: layer for layer in spec.layers}
    assert layers["block 1 pair"].output.shape == (3, 13, 10)
    assert layers["block 1 pair"].multiply_accumulates == 130 * 12 * (6 + 3) // 3
    assert layers["block 1 depthwise"].multiply_accumulates == 35 * 3 * 9


GATED = {"squeeze_and_excite": True, "squeezed_channels": 2}


def test_gates_of_an_unfused_block_stand_in_front_of_its_projection() -> None:
    spec = parse_spec(described(UNFUSED | GATED))
    assert wiring(spec) == [
        ("block 1 expand", "stem", None, "block 1 expand"),
        ("block 1 depthwise", "block 1 expand", None, "block 1 depthwise"),
        ("block 1 squeeze", "block 1 depthwise", None, "block 1 squeeze"),
        ("block 1 reduce", "block 1 squeeze", None, "block 1 reduce"),
        ("block 1 excite", "block 1 reduce", None, "block 1 excite"),
        ("block 1 scale", "block 1 depthwise", None, "block 1 scale"),
        ("block 1 project", "block 1 scale", None, "block 1 project"),
    ]
    layers = {layer.name: layer for layer in spec.layers}
    assert layers["block 1 reduce"].output.shape == (2, 1, 1)
    assert layers["block 1 excite"].output == layers["block 1 scale"].gates
    assert layers["block 1 excite"].output.shape == (12, 1, 1)
    assert layers["block 1 scale"].output.shape == (12, 7, 5)
    assert [layers[f"block 1 {name}"].multiply_accumulates for name in ("reduce", "excite", "scale")] == [24, 24, 12 * 35]


def test_gates_of_a_fused_block_stand_between_its_projection_and_its_residual() -> None:
    fused = FUSED | GATED | {"in_channels": 6, "out_channels": 6, "residual": True}
    spec, plain = (parse_spec(described(block, FUSED | {"in_channels": 6})) for block in (fused, fused | dict.fromkeys(GATED)
                   | {"squeeze_and_excite": False}))  # fmt: skip
    assert wiring(spec) == [
        ("block 1 fused", "stem", None, "block 1 fused"),
        ("block 1 squeeze", "block 1 fused", None, "block 1 squeeze"),
        ("block 1 reduce", "block 1 squeeze", None, "block 1 reduce"),
        ("block 1 excite", "block 1 reduce", None, "block 1 excite"),
        ("block 1 scale", "block 1 fused", "stem", "block 1 scale"),
        ("block 2", "block 1 scale", None, "block 2"),
    ]
    block = spec.layers[2].block
    assert isinstance(block, BlockSpec)
    assert (block.residual, block.squeeze_and_excite) == (False, False)
    assert spec.parameters() - plain.parameters() == 2 * 12 + 2 + 6
    with pytest.raises(ArchonError, match="kinds: expected fused blocks only, got squeeze_and_excite in block 1"):
        assert spec.fused_blocks


def test_without_a_last_pointwise_layer_the_pool_reads_the_last_block() -> None:
    spec = parse_spec({name: value for name, value in described().items() if name != "last_pointwise"})
    assert [layer.name for layer in spec.layers[-3:]] == ["block 2", "pool", "dense"]
    assert (spec.layers[-2].source.shape, spec.pooled_channels) == ((4, 7, 5), 4)
    with pytest.raises(ArchonError, match="kinds: expected last_pointwise, got a network without"):
        assert spec.head.channels


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "inverted"}, r"blocks\.0\.kind: expected one of fused, unfused, pointwise_pair, got 'inverted'"),
        ({"squeeze_and_excite": True}, r"block 0: squeeze_and_excite goes with squeezed_channels, got .* true, .* None$"),
        ({"squeezed_channels": 3}, r"block 0: squeeze_and_excite goes with squeezed_channels, got .* false, .* 3$"),
        ({"squeeze_and_excite": True, "squeezed_channels": 1024}, r"block 0: squeezed_channels must be at most 1023, got 1024"),
        (
            {"kind": "pointwise_pair", "squeeze_and_excite": True, "squeezed_channels": 3},
            r"block 0: squeeze_and_excite is for blocks of kind fused or unfused, got pointwise_pair",
        ),
        ({"kernel": 7}, r"block 0: kernel must be 3 or 5, got 7"),
        ({"stride": 3}, r"block 0: stride must be 1 or 2, got 3"),
        ({"dilation": 2}, r"blocks\.0\.dilation: .*not permitted, got 2"),
        ({"kind": "fused", "residual": False, "shuffle": False, "expand": False}, r"blocks\.0\.expand: .*not permitted"),
        ({"expand": False}, r"block 0: without an expand layer expanded_channels must be in_channels, got 12 and 6"),
        ({"expand": False, "expanded_channels": 6, "inner_shuffle": True}, r"block 0: inner_shuffle needs an expand layer"),
        ({"residual": True}, r"block 0: residual needs stride 1 .*got stride 2, 6 and 9"),
        ({"residual": True, "average_pool_shortcut": True}, r"block 0: expected a residual or an average_pool.*, got both"),
        ({"average_pool_shortcut": True, "out_channels": 6}, r"average_pool_shortcut needs more out_channels .*got 6 and 6"),
        ({"average_pool_shortcut": True, "out_channels": 10}, r"out_channels without in_channels 4 must be divisible by"),
        ({"expanded_channels": 13}, r"block 0: expanded_channels 13 must be divisible by groups 3"),
        ({"expanded_channels": 3072}, r"block 0: expanded_channels of one group must be at most 1023, got 1024"),
    ],
)  # fmt: skip
def test_faults_of_blocks_are_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArchonError, match=sentence) as caught:
        parse_spec(described(UNFUSED | changes, FUSED))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"height": 1024}, r"height: .*less than or equal to 1023, got 1024"),
        ({"first_depthwise": {"kernel": 3}}, r"first_pointwise and first_depthwise: expected both or neither, got one"),
        ({"stem": {"channels": 6, "kernel": 5, "stride": 1}}, r"stem: kernel must be 3, got 5"),
    ],
)
def test_faults_around_blocks_are_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArchonError, match=sentence):
        parse_spec(described(**changes))
