# The same commands as ./dev, which does the work. Arguments go in ARGS: make test ARGS="-k retry"

.PHONY: help demo test lint bench compiled docs

help demo test lint bench compiled docs:
	@./dev $@ $(ARGS)
