"""Proofs: units of hw.rtl in a bench that may do anything, with what must hold; sim.proofs runs them."""
