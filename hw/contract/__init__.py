"""The contract: every width, layout, address rule and rounding, defined once.

Exporter, golden model, RTL, test benches and driver import these modules; the modules import nothing of the
project themselves (standard library and numpy only).
"""
