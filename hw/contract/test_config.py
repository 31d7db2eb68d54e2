"""Configurations: what is no power of two, or too large, is refused with what was expected and what came."""

import dataclasses

import pytest

from hw.contract.config import ArchonConfig, preset
from hw.contract.errors import ArchonError


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"row_store_banks": 0}, "configuration: row_store_banks must be 4, 8 or 16 image rows for kernels up to 3, got 0"),
        ({"row_store_banks": 6}, "configuration: row_store_banks must be 4, 8 or 16 image rows for kernels up to 3, got 6"),
        (
            {"row_store_banks": 4, "kernel": 5},
            "configuration: row_store_banks must be 8 or 16 image rows for kernels up to 5, got 4",
        ),
        ({"pixel_tile": 0}, "configuration: pixel_tile must be 1, 2 or 4 pixels, got 0"),
        ({"pixel_tile": 3}, "configuration: pixel_tile must be 1, 2 or 4 pixels, got 3"),
        ({"adder_rows": 3}, "configuration: adder_rows must be 1, 2 or 4, got 3"),
        ({"slice_channels": 64}, "configuration: slice_channels must be 2, 4, 8, 16 or 32, got 64"),
        ({"lanes": 16}, "configuration: lanes must be 1, 2, 4 or 8 a cluster, got 16"),
        ({"clusters": 65}, "configuration: clusters must be 1 to 64, got 65"),
    ],
)
def test_unsupported_values_are_refused(changes: dict[str, int], sentence: str) -> None:
    with pytest.raises(ArchonError) as refused:
        dataclasses.replace(preset("tiny"), **changes)  # type: ignore[arg-type]
    assert str(refused.value) == sentence


@pytest.mark.parametrize(("kernel", "row_banks"), [(3, 4), (3, 8), (3, 16), (5, 8), (5, 16)])
@pytest.mark.parametrize("pixel_tile", [1, 2, 4])
def test_supported_values_are_taken(kernel: int, row_banks: int, pixel_tile: int) -> None:
    config = ArchonConfig(kernel=kernel, row_store_banks=row_banks, pixel_tile=pixel_tile)
    assert (config.row_banks, config.pixel_tile) == (row_banks, pixel_tile)


def test_the_row_store_has_as_many_banks_as_the_kernel_needs() -> None:
    tiny = preset("tiny")
    assert [dataclasses.replace(tiny, kernel=kernel).row_banks for kernel in (3, 5)] == [4, 8]
