"""From annotated data to batches of pairs."""
