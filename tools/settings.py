"""`python tools/settings.py --help` says what this does; the code is in tracker/cli/settings.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tracker.cli.common import run
from tracker.cli.settings import main

raise SystemExit(run(main))
