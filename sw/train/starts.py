"""Which run folders a stage may start from."""

from pathlib import Path

from sw.run_folder import read_config
from sw.train.recipe import STAGES


def holds_masks(folder: Path) -> bool:
    """Whether a run folder is of stage pruned or a later one, so that its checkpoint has masks."""
    return (read_config(folder) or {}).get("stage") in STAGES[STAGES.index("pruned") :]
