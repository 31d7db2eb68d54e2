"""Job descriptors, the program that the controller walks, and the words on the outer interface."""

from __future__ import annotations

from hw.contract.config import ADDRESS_BITS, CHANNELS_PER_WORD, DIMENSION_BITS
from hw.contract.layout import WORD_BITS, Field, Layout

PIXEL_BITS = 2 * DIMENSION_BITS
"""Pixel indices and counts of one plane."""

JOB_BITS = 16
"""Job numbers, echoed in reports."""

JOB = Layout(
    "job",
    (
        Field("end", 1),
        Field("barrier", 1),
        Field("half", 1),
        Field("residual", 1),
        Field("stride_two", 1),
        Field("kernel_five", 1),
        Field("fixed", 1),
        Field("channel_taps", 1),
        Field("depthwise", 1),
        Field("same_input", 1),
        Field("relu", 1),
        Field("summed", 1),
        Field("sum_first", 1),
        Field("sum_last", 1),
        Field("raw", 1),
        Field("late_tables", 1),
        Field("cluster", 7),
        Field("job", JOB_BITS),
        Field("input_height", DIMENSION_BITS),
        Field("input_width", DIMENSION_BITS),
        Field("input_row_start", DIMENSION_BITS),
        Field("input_rows", DIMENSION_BITS),
        Field("output_width", DIMENSION_BITS),
        Field("output_row_start", DIMENSION_BITS),
        Field("output_rows", DIMENSION_BITS),
        Field("input_channels", DIMENSION_BITS),
        Field("first_byte", 3),
        Field("planes", DIMENSION_BITS),
        Field("turns", DIMENSION_BITS),
        Field("slices", DIMENSION_BITS),
        Field("output_channels", DIMENSION_BITS),
        Field("segment", PIXEL_BITS),
        Field("plane_words", PIXEL_BITS),
        Field("first_center", PIXEL_BITS),
        Field("first_pixel", PIXEL_BITS),
        Field("input_address", ADDRESS_BITS),
        Field("output_address", ADDRESS_BITS),
        Field("residual_address", ADDRESS_BITS),
        Field("table_address", ADDRESS_BITS),
        Field("table_words", PIXEL_BITS),
    ),
)
"""One job: one group of a fused block or some output channels of a fixed layer, for a band of output rows, on one cluster.

end: the program ends here, all other fields are ignored. barrier: this job and those after it start when all jobs before
it have ended and memory has taken what they wrote; only their tables are loaded before, unless late_tables is set.
half: which half of the table memories holds the job's tables; two jobs in a row on one cluster should differ, so that the
second one's can be loaded early.
Output rows output_row_start .. +output_rows-1 are computed from input rows input_row_start .. +input_rows-1 (the band
with its halo, clipped to the image of input_height rows). segment = input_rows * input_width, the words of one plane
of the band. The input is read from `planes` planes: plane n of the band starts at input_address + n * plane_words
(plane_words = input_height * input_width, input_address already points to the band's first row of the first plane).
kernel_five: windows are of 5x5 pixels, not of 3x3; for hardware of kernel 5 only.
Byte b of plane n holds channel 8 * n + b - first_byte of the group, which exists when in 0..input_channels-1.
first_center = (stride * output_row_start - input_row_start) * input_width: index, within the segment, of the centre tap of
the job's first output pixel. first_pixel = output_row_start * output_width: index of that pixel in an output plane.
The tables come from the table_words words of the segment at table_address (hw.contract.tables).

output_channels: rows of A of a turn; the job's outputs for a pixel, but for depthwise jobs.

fixed: the layer is not fused. There is no predictor: all masks are ones, so A, loaded once with the layer's weights, serves all
pixels of the job, and only taps inside the image are multiplied. The segment has no tables of the predictor.
channel_taps: in a fixed job, nine taps of a lane (SMALL_TAPS) are not nine pixels of a channel but nine of its channels, all at
the output's pixel: tap d of lane l in turn t is the job's input channel (9 t + d) * lanes + l. Taps of channels that do not
exist have no weights. turns counts such nines.
depthwise: in a fixed job with one turn, the sums of lanes are not added up; each is an output. There are as many as input
channels, output_channels of them (or one less) in each lane: output k of the job is output k // lanes of lane k % lanes, from
the taps of input channel k alone.
same_input: the activations are those of the job before on this cluster, and are not read again.
relu: negative activations become 0, before a residual is added.
summed: the sums of all pixels of the job are added up, channel by channel; one output pixel, at first_pixel, is written for
all. Sums go on from job to job of a cluster: sum_first begins from zero, sum_last requantises and writes. Without summed both
are ignored.
raw: an output is the sum with its bias, 32 bits, least significant byte first, from the row's byte (0 or 4) on; the row's
multiplier must be 1 and its shift 0, and there is no relu and no residual.
late_tables: behind a barrier, the table segment is not read before the job may start, as jobs in front of the barrier write
into it, such as gates (hw.contract.tables.GATE_BYTE).

Cluster number config.image_unit, one past the last cluster, is the image unit: its jobs turn a raw image of input_height x
input_width pixels of input_channels bytes, the segment words at input_address (hw.contract.memory.pack_image), into the
tensor of its 3x3 windows at output_address: `planes` planes of plane_words = output_rows * output_width words, stride 1 or,
with stride_two, 2. The levels of a pixel's values are the table_words = LEVEL_WORDS words at table_address
(hw.contract.memory.pack_levels). The image is done as a whole: fields not named here, but for end, barrier, half and job,
count for nothing.
"""

DESCRIPTOR_WORDS = 8
"""Descriptors are this many words apart in a program; the layout fills the first JOB.words of them."""

READ_REQUEST = Layout("read_request", (Field("address", ADDRESS_BITS), Field("length", 16)))
"""Asks external memory for `length` words from `address` on; they come back in order, requests in order."""

WRITE = Layout("write", (Field("address", ADDRESS_BITS), Field("data", WORD_BITS), Field("strobe", CHANNELS_PER_WORD)))
"""Writes the bytes of one word whose strobe bit is set."""

OUTPUT_WRITE = Layout("output_write", (*WRITE.fields, Field("follows", 1)))
"""A WRITE of outputs; `follows`: it is to the word of the write before it (of the first one it means nothing)."""

COMMAND = Layout("command", (Field("program_address", ADDRESS_BITS),))
"""Starts the program whose first descriptor is at this word address."""

REPORT = Layout(
    "report",
    (
        Field("job", JOB_BITS),
        Field("start_cycle", 40),
        Field("end_cycle", 40),
        Field("multiplications", 40),
        Field("additions", 40),
        Field("steps", 40),
    ),
)
"""What a job cost. Cycles count from reset. start_cycle is the first one in which the cluster had the job and neither the job
before, with its report, nor a barrier; its tables may have been loaded before. end_cycle is the last one before the report. The
cycles of a cluster's jobs, start_cycle and end_cycle included, never overlap. multiplications: touched entries of A multiplied
by an activation, over all lanes. additions: terms, non-zero masked products times a signed power of two, added to entries of A,
plus those added to bias accumulators. steps: cycles in which adder rows of lanes
accumulate, over all of them."""
