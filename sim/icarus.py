"""What Icarus Verilog needs besides: combinational processes that run once at the start."""

import re
from pathlib import Path

# Yosys writes a combinational process as `always @*` that reads a dummy variable, so that it runs at time 0 even where it
# reads constants alone. Initialised in its declaration the dummy does not change, and Icarus leaves the outputs unknown;
# assigned without blocking, it changes after every process has begun to wait.
_DUMMY = re.compile(r"^( *)reg (\\\$auto\$verilog_backend\S+ ) = 0;$", re.MULTILINE)


def prepared(source: Path, folder: Path) -> Path:
    """The source, or one in `folder` made of it that Icarus Verilog simulates as meant."""
    text = source.read_text(encoding="utf-8")
    changed = _DUMMY.sub(r"\1reg \2;\n\1initial \2 <= 0;", text)
    if changed == text:
        return source
    path = folder / source.name
    path.write_text(changed, encoding="utf-8")
    return path
