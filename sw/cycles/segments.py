"""What a table segment costs its loader, and what a fixed layer's pairs do: read from the words as they lie in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hw.contract import tables
from hw.contract.config import CHANNELS_PER_WORD, ArchonConfig, index_bits
from hw.contract.layout import words_to_int
from hw.contract.tables import REQUANTIZE_ROW, SECTION_HEADER, TableKind
from hw.contract.taps import SMALL_KERNEL

Integers = NDArray[np.int64]
Bits = NDArray[np.bool_]
Words = NDArray[np.uint64]

TURN_CYCLES = 3
"""Of the table loader for a turn, besides its words and pairs."""


@dataclass(frozen=True)
class Slice:
    """A slice of a segment: what its channels and pairs are.

    Args:
        weights: (channels, taps), D.
        steps: For each channel the output channels of its steps.
        members: (turns, lanes, channels), where there is a pair.
    """

    weights: Integers
    steps: list[Integers]
    members: Bits


@dataclass(frozen=True)
class Segment:
    """A table segment.

    Args:
        pace: (words,), cycles for which the table loader has each word.
        planes: (outputs,), the output word's plane, of the REQUANTIZE rows.
        bytes: (outputs,), the byte in that word.
        slices: Of the LANES section.
    """

    pace: Integers
    planes: Integers
    bytes: Integers
    slices: list[Slice]

    @cached_property
    def members(self) -> Bits:
        """(slices, turns, lanes, channels)."""
        return np.stack([part.members for part in self.slices])

    def steps(self, config: ArchonConfig) -> Integers:
        """(slices, channels, adder rows): steps of a pair of each channel."""
        rows = config.adder_rows
        counted = [[np.bincount(steps % rows, minlength=rows) for steps in part.steps] for part in self.slices]
        return np.array(counted, dtype=np.int64)

    def touched(self, outputs: int) -> Bits:
        """Entries of A that the pairs add to where all masks are set: (outputs, turns, lanes, taps)."""
        _, turns, lanes, _ = self.members.shape
        taps = self.slices[0].weights.shape[1]
        found = np.zeros((outputs, turns * lanes, taps), dtype=bool)
        for part in self.slices:
            project = np.zeros((outputs, len(part.steps)), dtype=np.float32)
            for channel, steps in enumerate(part.steps):
                project[steps, channel] = 1
            pairs = part.members.reshape(turns * lanes, -1).T.astype(np.float32)
            for tap in range(taps):
                found[:, :, tap] |= (project * (part.weights[:, tap] != 0)) @ pairs > 0
        return found.reshape(outputs, turns, lanes, taps)


def read_segment(words: Words, turns: int, config: ArchonConfig, kernel: int = SMALL_KERNEL) -> Segment:
    """Take a segment apart (hw.contract.tables).

    Args:
        words: Of the segment.
        turns: Of its jobs.
        config: Of the hardware that it was made for.
        kernel: Of its jobs' windows.
    """
    reader = _Reader(words.tolist(), turns, config, kernel)
    while reader.position < len(words):
        reader.section()
    return Segment(np.array(reader.pace), np.array(reader.planes), np.array(reader.bytes), reader.slices)


class _Reader:
    """Goes through the words of a segment."""

    def __init__(self, words: list[int], turns: int, config: ArchonConfig, kernel: int) -> None:
        self.words, self.turns, self.config, self.position = words, turns, config, 0
        self.pace: list[int] = []
        self.planes: list[int] = []
        self.bytes: list[int] = []
        self.slices: list[Slice] = []
        self._channel, self._bias = tables.channel_record(config, kernel), tables.bias_record(config)
        self._members, self._step = tables.members_record(config), tables.step_row(config)
        self._weights_per_word = tables.weight_record(config).per_word
        # Of the words of steps and weights that were begun: the steps' output channels, and how many weights.
        self._steps_left: list[int] = []
        self._weights_left = 0

    def section(self) -> None:
        """The section that begins here."""
        header = SECTION_HEADER.unpack(self._take(1, 2))
        kind, rows, words = (int(str(header[name])) for name in ("kind", "rows", "words"))
        if kind == TableKind.LANES:
            self.slices += [self._slice() for _ in range(rows)]
        elif kind == TableKind.REQUANTIZE:
            found = [REQUANTIZE_ROW.unpack(self._take(words, 1)) for _ in range(rows)]
            self.planes += [int(str(row["plane"])) for row in found]
            self.bytes += [int(str(row["byte"])) for row in found]
        else:
            self.pace += [1] * (rows * words)
            self.position += rows * words

    def _take(self, words: int, cycles: int) -> int:
        """A record of so many words, of which each takes so many cycles."""
        self.pace += [cycles] * words
        self.position += words
        return words_to_int(self.words[self.position - words : self.position])

    def _slice(self) -> Slice:
        weights, steps, biased = [], [], 0
        self.pace[-1] += 1
        for _ in range(self.config.slice_channels):
            record = self._channel.unpack(self._take(self._channel.words, 1))
            weights.append(record["weights"])
            if record["has_bias"]:
                self._take(self._bias.words, 1)
                biased += 1
            steps.append(self._steps(int(str(record["step_count"]))))
        members = []
        for turn in range(self.turns):
            row = self._members.unpack(self._take(self._members.words, 1))["members"]
            bits = np.array(row, dtype=np.int64)[:, None] >> np.arange(self.config.slice_channels) & 1
            members.append(bits != 0)
            # A lane without pairs costs a cycle, a bias a pass besides its pair's.
            self.pace[-1] += TURN_CYCLES + int((bits.sum(axis=1) == 0).sum()) + (biased if turn == 0 else 0)
            self._weights_left = self._side_by_side(int(bits.sum()), self._weights_left, self._weights_per_word)
        return Slice(np.array(weights), steps, np.stack(members))

    def _steps(self, count: int) -> Integers:
        """Output channels of the steps that are due here, four a word."""
        first = self.position
        self._side_by_side(count, len(self._steps_left), self._step.per_word)
        words = np.array(self.words[first : self.position], dtype=np.uint64)
        shifts = np.arange(self._step.per_word, dtype=np.uint64) * np.uint64(self._step.width)
        mask = np.uint64((1 << index_bits(self.config.depths.output)) - 1)
        found = [*self._steps_left, *(words[:, None] >> shifts & mask).reshape(-1).tolist()]
        self._steps_left = found[count:]
        return np.array(found[:count], dtype=np.int64)

    def _side_by_side(self, count: int, left: int, per_word: int) -> int:
        """So many items, a cycle each, side by side in words; `left` come from the last one. Returns: how many are left then.

        While those that are left are taken, the next word waits behind the one before.
        """
        self.pace[-1] += min(left, count)
        whole, rest = divmod(max(0, count - left), per_word)
        self.pace += [per_word] * whole + [rest] * (rest > 0)
        self.position += whole + (rest > 0)
        return left - count + (whole + (rest > 0)) * per_word


def written_words(segment: Segment, output_bytes: int) -> tuple[int, int]:
    """Words in which a pixel's outputs of `output_bytes` bytes are written, one after the other; how many of them not whole."""
    words, partial, there, before = 0, 0, 0, -1
    for plane, byte in zip(segment.planes.tolist(), segment.bytes.tolist(), strict=True):
        strobe = ((1 << output_bytes) - 1) << byte
        if plane != before or there & strobe:
            partial += 0 < there < _WHOLE
            words, there, before = words + 1, 0, plane
        there |= strobe
    return words, partial + (0 < there < _WHOLE)


_WHOLE = (1 << CHANNELS_PER_WORD) - 1
