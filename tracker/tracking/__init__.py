"""From response maps to boxes, frame by frame. Knows nothing of files."""
