"""The host's side: runs programs on an accelerator behind a bus, be it simulated or on a board."""

from sw.driver.bus import Bus
from sw.driver.driver import Capabilities, Driver, Regions, Run

__all__ = ["Bus", "Capabilities", "Driver", "Regions", "Run"]
