#!/usr/bin/env python3
"""Adapts a model to your own object from a few labelled clips: see `tools/finetune.py --help`."""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":  # until `run` handles it: Ctrl-C ends the start without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tracker.cli.finetune import main

if __name__ == "__main__":
    sys.exit(main())
