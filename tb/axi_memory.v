// memory.v behind an AXI4 port, for whole-network runs: bursts of ascending addresses of whole words, one ID.
//
// Word 0 lies at byte address `base`. Reads as in memory.v. A write lands, where reads see it, `latency` cycles after its
// address and data were taken, and is answered after that; up to QUEUE words wait to land, and as many addresses to be used.
// The read_error_at-th word read and the write_error_at-th answer to a write since reset, counted from 1, come with
// `error_response`; 0: none does. `fault` as in memory.v, and after a burst that is of another kind.
module axi_memory #(
    parameter WORDS = 1 << 20,
    parameter QUEUE = 256,
    parameter ADDRESS_BITS = 32,
    parameter LENGTH_BITS = 16,
    parameter WORD_BITS = 64,
    parameter BYTE_ADDRESS_BITS = 40,
    parameter FILE_BYTES = 256
) (
    input clk,
    input rst,
    input [BYTE_ADDRESS_BITS-1:0] araddr,
    input [7:0] arlen,
    input [2:0] arsize,
    input [1:0] arburst,
    input arvalid,
    output arready,
    output [WORD_BITS-1:0] rdata,
    output [1:0] rresp,
    output rlast,
    output rvalid,
    input rready,
    input [BYTE_ADDRESS_BITS-1:0] awaddr,
    input [2:0] awsize,
    input [1:0] awburst,
    input awvalid,
    output awready,
    input [WORD_BITS-1:0] wdata,
    input [WORD_BITS/8-1:0] wstrb,
    input wlast,
    input wvalid,
    output wready,
    output [1:0] bresp,
    output bvalid,
    input bready,
    input [BYTE_ADDRESS_BITS-1:0] base,
    input [15:0] latency,
    input [7:0] pause,
    input [7:0] idle,
    input [39:0] read_error_at,
    input [39:0] write_error_at,
    input [1:0] error_response,
    input load,
    input dump,
    input [8*FILE_BYTES-1:0] file,
    input [ADDRESS_BITS-1:0] dump_start,
    input [ADDRESS_BITS-1:0] dump_end,
    output fault,
    output [39:0] words_read,
    output [39:0] words_written
);
    localparam BYTE_BITS = $clog2(WORD_BITS / 8);
    localparam INDEX_BITS = $clog2(QUEUE);
    localparam FAR_BITS = BYTE_ADDRESS_BITS - BYTE_BITS - ADDRESS_BITS;

    reg [39:0] cycle;
    always @(posedge clk) cycle <= rst ? 0 : cycle + 1;

    // Reads: memory.v answers in order, here the last word of each burst is marked.
    wire [BYTE_ADDRESS_BITS-1:0] read_offset = araddr - base;
    wire read_wrong = read_offset[BYTE_ADDRESS_BITS-1 -: FAR_BITS] != 0 || read_offset[BYTE_BITS-1:0] != 0
        || arsize != BYTE_BITS || arburst != 1;
    reg [7:0] lengths [0:QUEUE-1];
    reg [INDEX_BITS:0] asked, answered;
    reg [7:0] beat;
    wire [INDEX_BITS:0] reading = asked - answered;
    wire request_ready;
    assign arready = request_ready && reading != QUEUE;
    wire request_taken = arvalid && arready;
    assign rlast = beat == lengths[answered[INDEX_BITS-1:0]];
    assign rresp = read_error_at != 0 && words_read == read_error_at ? error_response : 2'b00;
    always @(posedge clk) begin
        if (request_taken) begin
            lengths[asked[INDEX_BITS-1:0]] <= arlen;
            asked <= asked + 1;
        end
        if (rvalid && rready) begin
            beat <= rlast ? 0 : beat + 1;
            if (rlast) answered <= answered + 1;
        end
        if (rst) begin
            asked <= 0;
            answered <= 0;
            beat <= 0;
        end
    end

    // Writes: addresses wait for their words, words wait until they land, answers wait until they are taken.
    wire [BYTE_ADDRESS_BITS-1:0] write_offset = awaddr - base;
    wire write_wrong = write_offset[BYTE_ADDRESS_BITS-1 -: FAR_BITS] != 0 || write_offset[BYTE_BITS-1:0] != 0
        || awsize != BYTE_BITS || awburst != 1;
    reg [ADDRESS_BITS-1:0] addresses [0:QUEUE-1];
    reg [INDEX_BITS:0] given, used;
    reg [7:0] word_of_burst;
    wire [INDEX_BITS:0] addresses_waiting = given - used;
    assign awready = !rst && addresses_waiting != QUEUE;
    wire address_taken = awvalid && awready;

    reg [ADDRESS_BITS-1:0] landing_address [0:QUEUE-1];
    reg [WORD_BITS+WORD_BITS/8-1:0] landing_word [0:QUEUE-1];
    reg landing_last [0:QUEUE-1];
    reg [39:0] landing_due [0:QUEUE-1];
    reg [INDEX_BITS:0] taken, landed, owed;
    reg [39:0] answers;
    wire [INDEX_BITS:0] landing = taken - landed;
    wire [INDEX_BITS-1:0] next = landed[INDEX_BITS-1:0];
    assign wready = !rst && addresses_waiting != 0 && landing != QUEUE;
    wire word_taken = wvalid && wready;
    wire lands_valid = landing != 0 && landing_due[next] <= cycle && owed != QUEUE;
    wire lands_ready;
    wire lands = lands_valid && lands_ready;
    assign bvalid = owed != 0;
    assign bresp = write_error_at != 0 && answers + 1 == write_error_at ? error_response : 2'b00;
    wire answer_taken = bvalid && bready;
    always @(posedge clk) begin
        if (address_taken) begin
            addresses[given[INDEX_BITS-1:0]] <= write_offset[BYTE_BITS +: ADDRESS_BITS];
            given <= given + 1;
        end
        if (word_taken) begin
            landing_address[taken[INDEX_BITS-1:0]] <= addresses[used[INDEX_BITS-1:0]] + word_of_burst;
            landing_word[taken[INDEX_BITS-1:0]] <= {wstrb, wdata};
            landing_last[taken[INDEX_BITS-1:0]] <= wlast;
            landing_due[taken[INDEX_BITS-1:0]] <= cycle + latency;
            taken <= taken + 1;
            word_of_burst <= wlast ? 0 : word_of_burst + 1;
            if (wlast) used <= used + 1;
        end
        if (lands) landed <= landed + 1;
        if (answer_taken) answers <= answers + 1;
        owed <= owed + (lands && landing_last[next]) - answer_taken;
        if (rst) begin
            given <= 0;
            used <= 0;
            word_of_burst <= 0;
            taken <= 0;
            landed <= 0;
            owed <= 0;
            answers <= 0;
        end
    end

    reg wrong;
    wire outside;
    assign fault = wrong || outside;
    always @(posedge clk) begin
        if (request_taken && read_wrong) $display("memory: burst read at %h, word 0 lies at %h", araddr, base);
        if (address_taken && write_wrong) $display("memory: burst written at %h, word 0 lies at %h", awaddr, base);
        if (request_taken && read_wrong || address_taken && write_wrong) wrong <= 1;
        if (rst) wrong <= 0;
    end

    wire [LENGTH_BITS-1:0] request_length = arlen + 1;
    memory #(
        .WORDS(WORDS), .QUEUE(QUEUE), .ADDRESS_BITS(ADDRESS_BITS), .LENGTH_BITS(LENGTH_BITS), .WORD_BITS(WORD_BITS),
        .FILE_BYTES(FILE_BYTES)
    ) memory (
        .clk(clk), .rst(rst),
        .read_request__payload({request_length, read_offset[BYTE_BITS +: ADDRESS_BITS]}),
        .read_request__valid(arvalid && reading != QUEUE), .read_request__ready(request_ready),
        .read_data__payload(rdata), .read_data__valid(rvalid), .read_data__ready(rready),
        .write__payload({landing_word[next], landing_address[next]}), .write__valid(lands_valid), .write__ready(lands_ready),
        .latency(latency), .pause(pause), .idle(idle), .load(load), .dump(dump), .file(file),
        .dump_start(dump_start), .dump_end(dump_end),
        .fault(outside), .words_read(words_read), .words_written(words_written)
    );
endmodule
