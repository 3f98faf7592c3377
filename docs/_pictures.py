"""The README's pictures, from a real run: `python -m docs._pictures runs/first log.txt`, where log.txt is its output.

COLUMNS=112 python -m tune_kd.search --name first | tee log.txt
"""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI, SVG_EXPORT_THEME, TerminalTheme
from rich.text import Text

PICTURES = Path(__file__).with_name("_static")
LIGHT = TerminalTheme((250, 249, 246), (29, 33, 39), SVG_EXPORT_THEME.ansi_colors._colors[:8])
SIZE, ZOOM = (1120, 800), 0.75


def terminal(log: str, folder: Path) -> None:
    """The run as a terminal shows it, without the lines that only say that it goes on."""
    lines = log.replace(str(folder.resolve().parents[1]), "/home/me").splitlines()
    waiting = [line for line in lines if re.match(r"\d+ of \d+ trials", line)]
    kept = [line for line in lines if line not in waiting[:-1] and not re.match(r"teacher: epoch", line)]
    for name, theme in (("light", LIGHT), ("dark", DIMMED_MONOKAI)):
        console = Console(record=True, width=112, file=io.StringIO())
        console.print(Text(f"$ python -m tune_kd.search --name {folder.name}", style="bold"))
        for line in kept:
            console.print(Text(line))
        svg = console.export_svg(title="tune_kd", theme=theme)
        # Rich names a font on a server; what is looked at should load nothing.
        svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
        (PICTURES / f"terminal-{name}.svg").write_text(svg, encoding="utf-8")


def report(page: Path) -> None:
    """The report's head in Chromium."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    for name, flags in (("light", ()), ("dark", ("--force-dark-mode",))):
        with tempfile.TemporaryDirectory() as room:
            shot = Path(room) / "shot.png"
            command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            command += [f"--user-data-dir={room}/profile", f"--window-size={SIZE[0]},{SIZE[1]}", "--hide-scrollbars"]
            subprocess.run([*command, *flags, f"--screenshot={shot}", page.resolve().as_uri()], check=True, timeout=120)
            picture = Image.open(shot).convert("RGB")
            small = picture.resize((round(SIZE[0] * ZOOM), round(SIZE[1] * ZOOM)), Image.Resampling.LANCZOS)
            small.quantize(64, dither=Image.Dither.NONE).save(PICTURES / f"report-{name}.png", optimize=True)


if __name__ == "__main__":
    folder, log = Path(sys.argv[1]), Path(sys.argv[2])
    terminal(log.read_text(encoding="utf-8"), folder)
    report(folder / "report.html")
