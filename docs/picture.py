#!/usr/bin/env python3
"""Draws docs/init.svg: what the README's first command prints.

    pip install rich==15.0.0
    cargo build --release && python docs/picture.py
"""

import os
import subprocess
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parent.parent
binary = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/epoch0"
with tempfile.TemporaryDirectory() as folder:
    command = [binary, "init", ROOT / "examples/gpt2/config.json", "-o", "out"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "CLICOLOR_FORCE": "1"}, capture_output=True, text=True, check=True
    )
console = Console(record=True, width=140, file=open(os.devnull, "w"), force_terminal=True, color_system="truecolor")
console.print(Text.from_ansi("$ epoch0 init examples/gpt2/config.json -o out\n\n" + done.stdout))
svg = console.export_svg(title="epoch0", theme=MONOKAI)
(ROOT / "docs/init.svg").write_text(svg)
