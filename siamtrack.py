"""`siamtrack COMMAND ...` and `python -m siamtrack COMMAND ...`: the door to the commands; the code is in tracker/cli.

It stands beside the package: importing anything inside that takes a moment, in which Ctrl-C would end in a traceback.
"""

import signal


def main() -> int:
    """Hands over to `tracker.cli`, which handles signals itself once it runs."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tracker.cli.__main__ import main as commands

    return commands()


if __name__ == "__main__":
    raise SystemExit(main())
