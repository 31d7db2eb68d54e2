// The accelerator with its external memory: only what a simulation drives and watches is a port.
// See memory.v for latency, pause, idle, load, dump and fault.
module harness #(
    parameter WORDS = 1 << 20,
    parameter ADDRESS_BITS = 32,
    parameter LENGTH_BITS = 16,
    parameter WORD_BITS = 64,
    parameter COMMAND_BITS = 32,
    parameter REPORT_BITS = 216,
    parameter ACTIVITY_BITS = 148,
    parameter OBSERVED_BITS = 1,
    parameter FILE_BYTES = 256
) (
    input clk,
    input rst,
    input [COMMAND_BITS-1:0] command__payload,
    input command__valid,
    output command__ready,
    output busy,
    output error,
    output [REPORT_BITS-1:0] report__payload,
    output report__valid,
    input report__ready,
    output [ACTIVITY_BITS-1:0] activity__payload,
    output activity__valid,
    input activity__ready,
    input record,
    input [15:0] latency,
    input [7:0] pause,
    input [7:0] idle,
    input load,
    input dump,
    input [8*FILE_BYTES-1:0] file,
    input [ADDRESS_BITS-1:0] dump_start,
    input [ADDRESS_BITS-1:0] dump_end,
    output fault,
    output [39:0] words_read,
    output [39:0] words_written
);
    wire [ADDRESS_BITS+LENGTH_BITS-1:0] request;
    wire [WORD_BITS-1:0] word;
    wire [ADDRESS_BITS+WORD_BITS+WORD_BITS/8-1:0] written;
    wire [OBSERVED_BITS-1:0] observed;
    wire request_valid, request_ready, word_valid, word_ready, written_valid, written_ready;

    // What follows from a top-level input is computed anew at every call of the model; behind a register, once a cycle.
    reg held_rst = 1'b1;
    always @(posedge clk) held_rst <= rst;

    archon archon (
        .clk(clk), .rst(held_rst),
        .command__payload(command__payload), .command__valid(command__valid), .command__ready(command__ready),
        .busy(busy), .error(error),
        .report__payload(report__payload), .report__valid(report__valid), .report__ready(report__ready),
        .activity__payload(activity__payload), .activity__valid(activity__valid), .activity__ready(activity__ready),
        .observed(observed),
        .read_request__payload(request), .read_request__valid(request_valid), .read_request__ready(request_ready),
        .read_data__payload(word), .read_data__valid(word_valid), .read_data__ready(word_ready),
        .write__payload(written), .write__valid(written_valid), .write__ready(written_ready),
        .writes_pending(1'b0)
    );

    memory #(
        .WORDS(WORDS), .ADDRESS_BITS(ADDRESS_BITS), .LENGTH_BITS(LENGTH_BITS), .WORD_BITS(WORD_BITS),
        .FILE_BYTES(FILE_BYTES)
    ) memory (
        .clk(clk), .rst(held_rst),
        .read_request__payload(request), .read_request__valid(request_valid), .read_request__ready(request_ready),
        .read_data__payload(word), .read_data__valid(word_valid), .read_data__ready(word_ready),
        .write__payload(written), .write__valid(written_valid), .write__ready(written_ready),
        .latency(latency), .pause(pause), .idle(idle), .load(load), .dump(dump), .file(file),
        .dump_start(dump_start), .dump_end(dump_end),
        .fault(fault), .words_read(words_read), .words_written(words_written)
    );

    // While record is high, what the units do is written whenever it changes: cycle since reset, then all observations.
    reg [39:0] cycle = 0;
    reg [OBSERVED_BITS-1:0] seen = 0;
    reg opened = 1'b0;
    integer states = 0;
    always @(posedge clk) begin
        cycle <= held_rst ? 40'd0 : cycle + 40'd1;
        if (record && !held_rst) begin
            if (!opened) begin
                states = $fopen("states.txt", "w");
                opened <= 1'b1;
            end
            if (!opened || observed != seen) $fwrite(states, "%0d %h\n", cycle, observed);
            seen <= observed;
        end else if (opened) begin
            $fwrite(states, "%0d end\n", cycle);
            $fclose(states);
            opened <= 1'b0;
        end
    end
endmodule
