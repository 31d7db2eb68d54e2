"""The AXI4 port to external memory: widths and limits of its transactions."""

from __future__ import annotations

from enum import IntEnum

from hw.contract.layout import WORD_BITS

BYTE_ADDRESS_BITS = 40
"""Byte addresses on the port."""

ID_BITS = 1
"""Transactions have one ID, 0, so their responses come in order."""

WORD_BYTES = WORD_BITS // 8
"""Bytes of a beat: every beat is one word of external memory."""

BURST_WORDS_MAX = 256
"""Beats of a burst at most. Bursts end at multiples of so many words, so none crosses a boundary of 4 KB."""


class Response(IntEnum):
    """RRESP and BRESP; everything but OKAY is an error here."""

    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3
