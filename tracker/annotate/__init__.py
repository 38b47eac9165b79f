"""Annotation of videos: draw a few boxes, let the tracker fill in the rest, correct, export to common formats.

A project file contains clips, targets, the boxes that a person drew, and the tracks between them; `annotate` makes
those tracks from Python, `siamtrack annotate` in a browser page or from files.
"""

from tracker.annotate.api import annotate
from tracker.annotate.clip import AnnotatedTarget, AnnotationError, Clip
from tracker.annotate.project import Conflict, Project

__all__ = ["AnnotatedTarget", "AnnotationError", "Clip", "Conflict", "Project", "annotate"]
