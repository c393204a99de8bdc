"""Where messages go that have to outlast memory: how they are written, and the files they are written to."""
