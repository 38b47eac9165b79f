"""From response maps to boxes, frame by frame. Independent of files."""
