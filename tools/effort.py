"""`python tools/effort.py --help` says what this does; the code is in tracker/cli/effort.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tracker.cli.common import run
from tracker.cli.effort import main

if __name__ == "__main__":
    raise SystemExit(run(main))
