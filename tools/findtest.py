"""`python tools/findtest.py --help` says what this does; the code is in tracker/cli/findtest.py."""

from tracker.cli.common import entry

if __name__ == "__main__":  # worker processes import this file again
    raise SystemExit(entry("findtest"))
