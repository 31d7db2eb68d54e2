"""The accelerator on a bus: AXI4 to external memory, AXI4-Lite registers for the host."""
