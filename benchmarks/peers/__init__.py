"""The same work done by others: one script each, which needs nothing of ours and runs in an environment of its own.

`SCRIPT WORKLOAD COUNT` does that work once and prints, as JSON, the seconds that it took.
"""
