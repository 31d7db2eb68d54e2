"""The image unit in simulation."""

import dataclasses

import pytest

from hw.contract.config import preset
from sim.unit_run import run_unit


@pytest.mark.parametrize(("image_row", "queue"), [(64, 4), (33, 16)])
def test_image_unit(image_row: int, queue: int) -> None:
    tiny = preset("tiny")
    depths, queues = dataclasses.replace(tiny.depths, image_row=image_row), dataclasses.replace(tiny.queues, image=queue)
    config, share = dataclasses.replace(tiny, depths=depths, queues=queues), ([4, 16].index(queue), 2)
    run_unit("image_unit", config, "tb.image_unit_tests", share=share)
