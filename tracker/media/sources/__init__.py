"""Sources of frames: videos, images, cameras and streams."""

from tracker.media.sources.open import open_source as open_source
