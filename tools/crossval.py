"""`python tools/crossval.py --help` says what this does; the code is in tracker/cli/crossval.py."""

from tracker.cli.common import entry

if __name__ == "__main__":  # worker processes import this file again
    raise SystemExit(entry("crossval"))
