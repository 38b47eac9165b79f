"""Where results go: annotated videos and files of boxes."""
