"""The register map: offsets, and what a register may be made of."""

import pytest

from hw.contract.config import PRESETS
from hw.contract.errors import ArchonError
from hw.contract.registers import (
    BY_NAME,
    OFFSETS,
    REGISTER_ADDRESS_BITS,
    REGISTERS,
    Access,
    Register,
    RegisterField,
    constants,
)

SHOWN = RegisterField("a", 1, Access.STATUS, "")
SET = RegisterField("b", 1, Access.SETTING, "")


def test_registers_do_not_overlap() -> None:
    taken = [OFFSETS[item.name] + 4 * word for item in REGISTERS for word in range(item.words)]
    assert taken == list(range(0, 4 * len(taken), 4))
    assert taken[-1] < 1 << REGISTER_ADDRESS_BITS
    assert len(BY_NAME) == len(REGISTERS)


def test_constants_are_those_of_every_preset() -> None:
    for config in PRESETS.values():
        for name, fields in constants(config).items():
            assert BY_NAME[name].layout.unpack(BY_NAME[name].layout.pack(fields)) == fields


def test_both_directions_in_one_register_are_refused() -> None:
    with pytest.raises(ArchonError, match="register mixed: expected fields of one direction"):
        Register("mixed", "", (SHOWN, SET))


def test_more_than_two_words_are_refused() -> None:
    with pytest.raises(ArchonError, match="register wide: expected at most 64 bits, got 65"):
        Register("wide", "", (SHOWN, RegisterField("c", 64, Access.STATUS, "")))
