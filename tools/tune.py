"""`python tools/tune.py --help` says what this does; the code is in tracker/cli/tune.py."""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":  # the worker processes import this file again
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `run` handles it: Ctrl-C ends the start without a traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

    from tracker.cli.common import run
    from tracker.cli.tune import main

    raise SystemExit(run(main))
