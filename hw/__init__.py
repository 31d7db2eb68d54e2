"""ARCHON in hardware: the contract every part shares (contract/) and the RTL (rtl/)."""
