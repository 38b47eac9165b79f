"""One clip of `track --init-dir`, in a process of its own that ends with the command that started it."""

from __future__ import annotations

import sys

from tracker.cli.common import end_with_parent, run
from tracker.cli.track import main

if __name__ == "__main__":
    end_with_parent(0.2)
    sys.argv[0] = "siamtrack track"
    raise SystemExit(run(main))
