"""Annotate videos: draw once, correct a little, export to what people use.

A project file holds clips, targets, the boxes that a person drew, and the tracks between them; `annotate` makes those
tracks from Python, `siamtrack annotate` in a browser page or from files.
"""

from tracker.annotate.api import annotate
from tracker.annotate.clip import AnnotationError, Clip, Target
from tracker.annotate.project import Conflict, Project

__all__ = ["AnnotationError", "Clip", "Conflict", "Project", "Target", "annotate"]
