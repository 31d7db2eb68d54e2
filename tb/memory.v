// External memory of simulations: whole-network runs keep it inside the compiled model, so that nothing is done in
// Python each clock cycle.
//
// Requests are answered in order, at most one word a cycle. The first word of a request comes `latency` cycles after the
// least possible time (2 cycles after the request was accepted); waiting times of queued requests overlap. A word is read
// when it is handed over, so every write accepted before a request is seen by it. In `pause` of 256 cycles, on average,
// requests are held, in as many others writes, and in `idle` words, at random; 0 is full speed.
//
// A rising `load` reads the $readmemh file named by `file` (with @address lines; other words keep their value), a rising
// `dump` writes words dump_start..dump_end to it. Both happen within one clock cycle. `fault` stays set after an access
// outside the memory or a request of no words.
module memory #(
    parameter WORDS = 1 << 20,
    parameter QUEUE = 256,
    parameter ADDRESS_BITS = 32,
    parameter LENGTH_BITS = 16,
    parameter WORD_BITS = 64,
    parameter FILE_BYTES = 256
) (
    input clk,
    input rst,
    input [ADDRESS_BITS+LENGTH_BITS-1:0] read_request__payload,
    input read_request__valid,
    output read_request__ready,
    output reg [WORD_BITS-1:0] read_data__payload,
    output reg read_data__valid,
    input read_data__ready,
    input [ADDRESS_BITS+WORD_BITS+WORD_BITS/8-1:0] write__payload,
    input write__valid,
    output write__ready,
    input [15:0] latency,
    input [7:0] pause,
    input [7:0] idle,
    input load,
    input dump,
    input [8*FILE_BYTES-1:0] file,
    input [ADDRESS_BITS-1:0] dump_start,
    input [ADDRESS_BITS-1:0] dump_end,
    output reg fault,
    output reg [39:0] words_read,
    output reg [39:0] words_written
);
    localparam INDEX_BITS = $clog2(QUEUE);

    reg [WORD_BITS-1:0] words [0:WORDS-1];
    integer position;
    initial for (position = 0; position < WORDS; position = position + 1) words[position] = 0;

    reg load_before, dump_before;
    always @(posedge clk) begin
        load_before <= load;
        dump_before <= dump;
    end

    // xorshift32 (Marsaglia 2003): which streams pause.
    reg [31:0] noise;
    wire [31:0] noise_left = noise ^ (noise << 13);
    wire [31:0] noise_right = noise_left ^ (noise_left >> 17);
    always @(posedge clk) noise <= rst ? 32'd2463534242 : noise_right ^ (noise_right << 5);
    wire request_paused = noise[7:0] < pause;
    wire data_paused = noise[15:8] < idle;
    wire write_paused = noise[23:16] < pause;

    // Waiting requests: where, how many words, when the first is due.
    reg [ADDRESS_BITS-1:0] addresses [0:QUEUE-1];
    reg [LENGTH_BITS-1:0] lengths [0:QUEUE-1];
    reg [39:0] due [0:QUEUE-1];
    reg [INDEX_BITS:0] accepted, answered;
    reg [LENGTH_BITS-1:0] offset;
    reg [39:0] cycle;

    wire [INDEX_BITS:0] waiting = accepted - answered;
    wire [INDEX_BITS-1:0] tail = accepted[INDEX_BITS-1:0];
    wire [INDEX_BITS-1:0] head = answered[INDEX_BITS-1:0];
    wire [ADDRESS_BITS-1:0] request_address = read_request__payload[ADDRESS_BITS-1:0];
    wire [LENGTH_BITS-1:0] request_length = read_request__payload[ADDRESS_BITS +: LENGTH_BITS];
    wire [ADDRESS_BITS:0] request_end = request_address + request_length;
    wire [ADDRESS_BITS-1:0] read_address = addresses[head] + offset;
    wire [ADDRESS_BITS-1:0] write_address = write__payload[ADDRESS_BITS-1:0];
    wire [WORD_BITS-1:0] write_data = write__payload[ADDRESS_BITS +: WORD_BITS];
    wire [WORD_BITS/8-1:0] write_strobe = write__payload[ADDRESS_BITS+WORD_BITS +: WORD_BITS/8];

    assign read_request__ready = !rst && waiting != QUEUE && !request_paused;
    assign write__ready = !rst && !write_paused;
    wire request_taken = read_request__valid && read_request__ready;
    wire write_taken = write__valid && write__ready;
    wire word_due = waiting != 0 && due[head] <= cycle && !data_paused;
    wire hand_over = word_due && (!read_data__valid || read_data__ready);
    wire bad_request = request_taken && (request_length == 0 || request_end > WORDS);
    wire bad_write = write_taken && write_address >= WORDS;

    always @(posedge clk) begin
        cycle <= cycle + 1;
        if (request_taken && !bad_request) begin
            addresses[tail] <= request_address;
            lengths[tail] <= request_length;
            due[tail] <= cycle + 1 + latency;
            accepted <= accepted + 1;
        end
        if (read_data__ready) read_data__valid <= 0;
        if (hand_over) begin
            read_data__payload <= words[read_address];
            read_data__valid <= 1;
            words_read <= words_read + 1;
            offset <= offset + 1;
            if (offset == lengths[head] - 1) begin
                offset <= 0;
                answered <= answered + 1;
            end
        end
        if (write_taken) words_written <= words_written + 1;
        if (bad_request) $display("memory: request of %0d words at %0d, there are %0d", request_length, request_address, WORDS);
        if (bad_write) $display("memory: write at %0d, there are %0d words", write_address, WORDS);
        if (bad_request || bad_write) fault <= 1;
        if (rst) begin
            read_data__valid <= 0;
            accepted <= 0;
            answered <= 0;
            offset <= 0;
            cycle <= 0;
            words_read <= 0;
            words_written <= 0;
            fault <= 0;
        end
    end

    integer lane;
    always @(posedge clk) begin
        if (write_taken && !bad_write)
            for (lane = 0; lane < WORD_BITS / 8; lane = lane + 1)
                if (write_strobe[lane]) words[write_address][8*lane +: 8] <= write_data[8*lane +: 8];
        if (load && !load_before) $readmemh(file, words);
        if (dump && !dump_before) $writememh(file, words, dump_start, dump_end);
    end
endmodule
