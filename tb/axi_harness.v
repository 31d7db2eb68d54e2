// The accelerator on its buses with its external memory: the host's registers are ports, and what a simulation sets in memory.
// See axi_memory.v and memory.v for base, latency, pause, idle, errors, load, dump and fault.
module axi_harness #(
    parameter WORDS = 1 << 20,
    parameter ADDRESS_BITS = 32,
    parameter LENGTH_BITS = 16,
    parameter WORD_BITS = 64,
    parameter BYTE_ADDRESS_BITS = 40,
    parameter REGISTER_ADDRESS_BITS = 12,
    parameter REGISTER_BITS = 32,
    parameter FILE_BYTES = 256
) (
    input clk,
    input rst,
    input [REGISTER_ADDRESS_BITS-1:0] registers__awaddr,
    input registers__awvalid,
    output registers__awready,
    input [REGISTER_BITS-1:0] registers__wdata,
    input [REGISTER_BITS/8-1:0] registers__wstrb,
    input registers__wvalid,
    output registers__wready,
    output [1:0] registers__bresp,
    output registers__bvalid,
    input registers__bready,
    input [REGISTER_ADDRESS_BITS-1:0] registers__araddr,
    input registers__arvalid,
    output registers__arready,
    output [REGISTER_BITS-1:0] registers__rdata,
    output [1:0] registers__rresp,
    output registers__rvalid,
    input registers__rready,
    output interrupt,
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
    wire [BYTE_ADDRESS_BITS-1:0] araddr, awaddr;
    wire [7:0] arlen;
    wire [2:0] arsize, awsize;
    wire [1:0] arburst, awburst, rresp, bresp;
    wire [WORD_BITS-1:0] rdata, wdata;
    wire [WORD_BITS/8-1:0] wstrb;
    wire arvalid, arready, rlast, rvalid, rready, awvalid, awready, wlast, wvalid, wready, bvalid, bready;

    // What follows from a top-level input is computed anew at every call of the model; behind a register, once a cycle.
    reg held_rst = 1'b1;
    always @(posedge clk) held_rst <= rst;

    archon_axi archon_axi (
        .clk(clk), .rst(held_rst), .interrupt(interrupt),
        .registers__awaddr(registers__awaddr), .registers__awvalid(registers__awvalid), .registers__awready(registers__awready),
        .registers__wdata(registers__wdata), .registers__wstrb(registers__wstrb),
        .registers__wvalid(registers__wvalid), .registers__wready(registers__wready),
        .registers__bresp(registers__bresp), .registers__bvalid(registers__bvalid), .registers__bready(registers__bready),
        .registers__araddr(registers__araddr), .registers__arvalid(registers__arvalid), .registers__arready(registers__arready),
        .registers__rdata(registers__rdata), .registers__rresp(registers__rresp),
        .registers__rvalid(registers__rvalid), .registers__rready(registers__rready),
        .memory__araddr(araddr), .memory__arlen(arlen), .memory__arsize(arsize), .memory__arburst(arburst),
        .memory__arvalid(arvalid), .memory__arready(arready),
        .memory__rid(1'b0), .memory__rdata(rdata), .memory__rresp(rresp), .memory__rlast(rlast),
        .memory__rvalid(rvalid), .memory__rready(rready),
        .memory__awaddr(awaddr), .memory__awsize(awsize), .memory__awburst(awburst),
        .memory__awvalid(awvalid), .memory__awready(awready),
        .memory__wdata(wdata), .memory__wstrb(wstrb), .memory__wlast(wlast),
        .memory__wvalid(wvalid), .memory__wready(wready),
        .memory__bid(1'b0), .memory__bresp(bresp), .memory__bvalid(bvalid), .memory__bready(bready)
    );

    axi_memory #(
        .WORDS(WORDS), .ADDRESS_BITS(ADDRESS_BITS), .LENGTH_BITS(LENGTH_BITS), .WORD_BITS(WORD_BITS),
        .BYTE_ADDRESS_BITS(BYTE_ADDRESS_BITS), .FILE_BYTES(FILE_BYTES)
    ) memory (
        .clk(clk), .rst(held_rst),
        .araddr(araddr), .arlen(arlen), .arsize(arsize), .arburst(arburst), .arvalid(arvalid), .arready(arready),
        .rdata(rdata), .rresp(rresp), .rlast(rlast), .rvalid(rvalid), .rready(rready),
        .awaddr(awaddr), .awsize(awsize), .awburst(awburst), .awvalid(awvalid), .awready(awready),
        .wdata(wdata), .wstrb(wstrb), .wlast(wlast), .wvalid(wvalid), .wready(wready),
        .bresp(bresp), .bvalid(bvalid), .bready(bready),
        .base(base), .latency(latency), .pause(pause), .idle(idle),
        .read_error_at(read_error_at), .write_error_at(write_error_at), .error_response(error_response),
        .load(load), .dump(dump), .file(file), .dump_start(dump_start), .dump_end(dump_end),
        .fault(fault), .words_read(words_read), .words_written(words_written)
    );
endmodule
