# Thin names for the scripts; each sets up what it needs.

.PHONY: help demo test test-versions check format deb test-deb bench soak clean

help:
	@echo "make demo           watch a pull from an offline registry through the shim"
	@echo "make test           run all tests"
	@echo "make test-versions  run the tests on the oldest library versions"
	@echo "make check          formatting, lint, types"
	@echo "make format         format the code"
	@echo "make deb            build the Debian package"
	@echo "make test-deb       install it on Debian 12 and 13, and try what may happen to it"
	@echo "make bench          measure"
	@echo "make soak           ten minutes of load while the runtime dies again and again"
	@echo "make clean          remove what was made here"

demo:
	@scripts/demo

test:
	@scripts/test

test-versions:
	@scripts/test-versions

check:
	@scripts/check

format:
	@scripts/format

deb:
	@scripts/deb

test-deb:
	@scripts/test-deb

bench:
	@scripts/bench

soak:
	@scripts/soak

clean:
	rm -rf build dist .venv .venv-check .venv-debian12 .venv-uvloop *.egg-info image_cri_shim/cri/_generated/*_pb2.py*
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
