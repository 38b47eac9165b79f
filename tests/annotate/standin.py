"""`siamtrack annotate` with a tracker that matches the template pixel by pixel: quick, exact on synthetic clips, no
weights needed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.web.standin import MatchTemplate  # noqa: E402


class Slowed(MatchTemplate):
    """Takes some milliseconds a frame, where a test wants to be quicker than the tracker."""

    name, device = "match-template", "cpu"
    engine = type("Engine", (), {"name": "opencv"})

    def update(self, image: Any, *, index: int = 0, timestamp: float | None = None) -> Any:
        time.sleep(float(os.environ.get("STANDIN_DELAY", "0")))
        return super().update(image, index=index, timestamp=timestamp)


if __name__ == "__main__":
    from tracker.cli import annotate, annotate_page, common

    annotate.check_model_options = lambda args: None  # type: ignore[assignment]
    annotate.load_tracker = annotate_page.load_tracker = lambda args, live=False: Slowed()  # type: ignore[assignment,return-value]
    raise SystemExit(common.run(annotate.main))
