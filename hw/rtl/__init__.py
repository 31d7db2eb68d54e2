"""The accelerator as Amaranth components, one unit a file; archon.py only wires them."""
