"""`python tools/benchmark.py --help` says what this does; the code is in tracker/cli/benchmark.py."""

import signal

if __name__ == "__main__":  # worker processes import this file again
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # until the command handles it: Ctrl-C ends the start without a traceback
    from tracker.cli.common import entry

    raise SystemExit(entry("benchmark"))
