"""Images in, tracks out: sources, sinks, drawing and the window. Independent of the network."""
