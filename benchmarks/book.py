"""How long the book and its tests take, from a clean clone, with this interpreter's packages.

    python benchmarks/book.py

Prints each bar and what it came to; exits with 1 when one is missed. Installation is not counted.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BARS = {"book, clean clone": 360, "book, nothing changed": 10, "longest chapter": 60, "tests": 480}


def timed(command: list[str], cwd: Path) -> tuple[float, str]:
    begin = time.perf_counter()
    run = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{' '.join(command)} failed\n{run.stdout[-3000:]}{run.stderr[-3000:]}")
    return time.perf_counter() - begin, run.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        (clone / ".venv").symlink_to(sys.prefix)
        make = ["make", "-o", ".venv/.installed"]  # the environment is there: nothing to install
        found = {}
        found["book, clean clone"], out = timed([*make, "book"], clone)
        chapters = {name: float(s) for name, s in re.findall(r"executed (\S+) in ([\d.]+) s", out)}
        found["longest chapter"] = max(chapters.values())
        found["book, nothing changed"], _ = timed([*make, "book"], clone)
        found["tests"], _ = timed([*make, "test"], clone)
        dirty = subprocess.check_output(["git", "status", "--porcelain"], cwd=clone, text=True)
    for name, seconds in chapters.items():
        print(f"  {name:<36}{seconds:>7.1f} s")
    for name, bar in BARS.items():
        print(f"{name:<38}{found[name]:>7.1f} s, at most {bar} s")
    print(f"files that building changed: {dirty.strip() or 'none'}")
    sys.exit(any(found[name] > bar for name, bar in BARS.items()))


if __name__ == "__main__":
    main()
