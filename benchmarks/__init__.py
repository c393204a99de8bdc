"""What actorkit's speed is, question by question: `python -m benchmarks`."""
