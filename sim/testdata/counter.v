// Counts up by STEP each clock cycle while enabled.
module counter #(
    parameter STEP = 1
) (
    input clk,
    input rst,
    input enable,
    output reg [7:0] count = 0
);
    always @(posedge clk)
        if (rst) count <= 0;
        else if (enable) count <= count + STEP;
endmodule
