"""`python tools/completion.py --help` says what this does; the code is in tracker/cli/completion.py."""

import signal

if __name__ == "__main__":  # worker processes import this file again
    # Until the command handles it: Ctrl-C ends the start without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tracker.cli.common import entry

    raise SystemExit(entry("completion"))
