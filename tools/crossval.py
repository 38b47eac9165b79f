"""`python tools/crossval.py --help` says what this does; the code is in tracker/cli/crossval.py."""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":  # until `run` handles it: Ctrl-C ends the start without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tracker.cli.common import run
from tracker.cli.crossval import main

if __name__ == "__main__":
    raise SystemExit(run(main))
