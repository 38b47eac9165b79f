"""From annotated material to batches of pairs."""
