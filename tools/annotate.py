"""`python tools/annotate.py --help` says what this does; the code is in tracker/cli/annotate.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tracker.cli.annotate import main
from tracker.cli.common import run

if __name__ == "__main__":
    raise SystemExit(run(main))
