"""Pictures in, tracks out: sources, sinks, drawing and the window. Knows nothing of networks."""
