"""What Icarus Verilog needs besides: combinational processes that run once at the start."""

import dataclasses
import re
from pathlib import Path

from sim.model import Design
from sim.report import write_whole

# Yosys writes a combinational process as `always @*` that reads a dummy variable, so that it runs at time 0 even where it
# reads constants alone. Initialised in its declaration the dummy does not change, and Icarus leaves the outputs unknown;
# assigned without blocking, it changes after every process has begun to wait.
_DUMMY = re.compile(r"^( *)reg (\\\$auto\$verilog_backend\S+ ) = 0;$", re.MULTILINE)


def prepared_for_icarus(design: Design) -> Design:
    """The same design from sources that Icarus Verilog simulates as meant; they lie beside the ones they are made of."""
    return dataclasses.replace(design, sources=[_prepared(Path(source)) for source in design.sources])


def _prepared(source: Path) -> Path:
    text = source.read_text(encoding="utf-8")
    changed = _DUMMY.sub(r"\1reg \2;\n\1initial \2 <= 0;", text)
    if changed == text:
        return source
    path = source.with_name(f"{source.stem}_icarus{source.suffix}")
    write_whole(path, lambda beside: beside.write_text(changed, encoding="utf-8"))
    return path
