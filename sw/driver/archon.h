/* Registers of ARCHON, made by `python -m sim registers` from hw/contract/registers.py. */
#ifndef ARCHON_H
#define ARCHON_H

/* 0x4E435241: this is ARCHON */
#define ARCHON_IDENTIFICATION 0x00u

/* version of the register map */
#define ARCHON_VERSION 0x04u
#define ARCHON_VERSION_MINOR_SHIFT 0
#define ARCHON_VERSION_MINOR_MASK 0x0000ffffu
#define ARCHON_VERSION_MAJOR_SHIFT 16
#define ARCHON_VERSION_MAJOR_MASK 0xffff0000u

/* what the hardware was generated with */
#define ARCHON_CAPABILITIES 0x08u
#define ARCHON_CAPABILITIES_CLUSTERS_SHIFT 0
#define ARCHON_CAPABILITIES_CLUSTERS_MASK 0x000000ffu
#define ARCHON_CAPABILITIES_LANES_SHIFT 8
#define ARCHON_CAPABILITIES_LANES_MASK 0x0000ff00u
#define ARCHON_CAPABILITIES_SLICE_CHANNELS_SHIFT 16
#define ARCHON_CAPABILITIES_SLICE_CHANNELS_MASK 0x00ff0000u
#define ARCHON_CAPABILITIES_KERNEL_SHIFT 24
#define ARCHON_CAPABILITIES_KERNEL_MASK 0xff000000u

/* starts and stops */
#define ARCHON_CONTROL 0x0cu
#define ARCHON_CONTROL_START_SHIFT 0
#define ARCHON_CONTROL_START_MASK 0x00000001u
#define ARCHON_CONTROL_ABORT_SHIFT 1
#define ARCHON_CONTROL_ABORT_MASK 0x00000002u
#define ARCHON_CONTROL_SNAPSHOT_SHIFT 2
#define ARCHON_CONTROL_SNAPSHOT_MASK 0x00000004u
#define ARCHON_CONTROL_INTERRUPT_ENABLE_SHIFT 3
#define ARCHON_CONTROL_INTERRUPT_ENABLE_MASK 0x00000008u

/* state of the run */
#define ARCHON_STATUS 0x10u
#define ARCHON_STATUS_BUSY_SHIFT 0
#define ARCHON_STATUS_BUSY_MASK 0x00000001u
#define ARCHON_STATUS_DONE_SHIFT 1
#define ARCHON_STATUS_DONE_MASK 0x00000002u
#define ARCHON_STATUS_ERROR_SHIFT 2
#define ARCHON_STATUS_ERROR_MASK 0x00000004u

/* why the run was stopped; a start clears it */
#define ARCHON_ERROR_CODE 0x14u
#define ARCHON_ERROR_CODE_CODE_SHIFT 0
#define ARCHON_ERROR_CODE_CODE_MASK 0x0000000fu

/* byte address that the error code speaks of, else 0 */
#define ARCHON_ERROR_ADDRESS_LOW 0x18u
#define ARCHON_ERROR_ADDRESS_HIGH 0x1cu

/* byte address of word 0 of programs; bits 2..0 are taken as 0 */
#define ARCHON_MEMORY_BASE_LOW 0x20u
#define ARCHON_MEMORY_BASE_HIGH 0x24u

/* first byte address that may be read */
#define ARCHON_READ_BASE_LOW 0x28u
#define ARCHON_READ_BASE_HIGH 0x2cu

/* first byte address behind those that may be read */
#define ARCHON_READ_LIMIT_LOW 0x30u
#define ARCHON_READ_LIMIT_HIGH 0x34u

/* first byte address that may be written */
#define ARCHON_WRITE_BASE_LOW 0x38u
#define ARCHON_WRITE_BASE_HIGH 0x3cu

/* first byte address behind those that may be written */
#define ARCHON_WRITE_LIMIT_LOW 0x40u
#define ARCHON_WRITE_LIMIT_HIGH 0x44u

/* word address of the program's first descriptor, counted from memory_base */
#define ARCHON_PROGRAM_ADDRESS 0x48u

/* cycles without progress after which a run is stopped; 0: never */
#define ARCHON_STALL_LIMIT 0x4cu

/* byte address of the first report; bits 2..0 are taken as 0. The report of the n-th job to end (from 0) is written to the 4 words from report_base + 32 n on */
#define ARCHON_REPORT_BASE_LOW 0x50u
#define ARCHON_REPORT_BASE_HIGH 0x54u

/* reports that are written; jobs that end later are counted only */
#define ARCHON_REPORT_CAPACITY 0x58u

/* clock cycles of the run */
#define ARCHON_CYCLES_LOW 0x5cu
#define ARCHON_CYCLES_HIGH 0x60u

/* words that memory delivered without an error */
#define ARCHON_WORDS_READ_LOW 0x64u
#define ARCHON_WORDS_READ_HIGH 0x68u

/* words that memory took without an error, of reports too */
#define ARCHON_WORDS_WRITTEN_LOW 0x6cu
#define ARCHON_WORDS_WRITTEN_HIGH 0x70u

/* jobs that have ended */
#define ARCHON_JOBS_LOW 0x74u
#define ARCHON_JOBS_HIGH 0x78u

/* multiplications of these jobs */
#define ARCHON_MULTIPLICATIONS_LOW 0x7cu
#define ARCHON_MULTIPLICATIONS_HIGH 0x80u

/* additions of these jobs */
#define ARCHON_ADDITIONS_LOW 0x84u
#define ARCHON_ADDITIONS_HIGH 0x88u

/* steps of accumulation of these jobs */
#define ARCHON_STEPS_LOW 0x8cu
#define ARCHON_STEPS_HIGH 0x90u

/* rows of what units did in these jobs; none in hardware without counters */
#define ARCHON_ACTIVITY_ROWS_LOW 0x94u
#define ARCHON_ACTIVITY_ROWS_HIGH 0x98u

/* byte address of the first row of what a unit did in a job; bits 2..0 are taken as 0. The n-th row (from 0) is written to the 3 words from activity_base + 24 n on */
#define ARCHON_ACTIVITY_BASE_LOW 0x9cu
#define ARCHON_ACTIVITY_BASE_HIGH 0xa0u

/* such rows that are written; later ones are counted only */
#define ARCHON_ACTIVITY_CAPACITY 0xa4u

/* descriptor that the error code speaks of, else 0 */
#define ARCHON_ERROR_DESCRIPTOR 0xa8u
#define ARCHON_ERROR_DESCRIPTOR_INDEX_SHIFT 0
#define ARCHON_ERROR_DESCRIPTOR_INDEX_MASK 0x0000ffffu

/* what identification and version hold */
#define ARCHON_LETTERS 0x4e435241u
#define ARCHON_MAJOR 1u
#define ARCHON_MINOR 2u

/* values of error_code */
#define ARCHON_CODE_NONE 0u
#define ARCHON_CODE_READ_RESPONSE 1u
#define ARCHON_CODE_WRITE_RESPONSE 2u
#define ARCHON_CODE_READ_OUTSIDE 3u
#define ARCHON_CODE_WRITE_OUTSIDE 4u
#define ARCHON_CODE_DESCRIPTOR 5u
#define ARCHON_CODE_STALLED 6u
#define ARCHON_CODE_ABORTED 7u
#define ARCHON_CODE_TABLES 8u

#endif
