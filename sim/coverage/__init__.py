"""Coverage of the RTL by the tests: which branches ran, which bits toggled, which layers under which conditions."""
