#!/usr/bin/env python3
"""Trains a model from a recipe: see `tools/train.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tracker.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
