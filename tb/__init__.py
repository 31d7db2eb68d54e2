"""cocotb agents, scoreboard and testbenches; they see the design as Verilog only."""
