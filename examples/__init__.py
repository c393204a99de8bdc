"""Programs that show actorkit at work; each runs with `python -m examples.<name>` and is a test."""
