"""A morning at the bank: `python -m examples.bank`."""

from actorkit import run
from examples.bank.actors import tree

print(run(tree))
