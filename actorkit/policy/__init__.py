"""Decisions: plain values in, a plain value out. No trio, clock, chance or input and output here; `now` and `rng` are arguments."""
