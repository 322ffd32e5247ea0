# make demo   the whole road on this machine, into ./demo-run
# make demo-sweep   eight variants of the demo's runs, two probes each, into ./demo-sweep (20 minutes on 2 idle cores)
# make test   every check and test that fits 2 cores and 20 minutes
# make equivalence   encoders and losses beside transformers and torchaudio, with the largest differences
# make bench  k-means beside scikit-learn and faiss, features beside torchaudio and librosa: Markdown tables (half an hour)
# make check  formatting, lint, types and the quick tests, without Ray: two minutes

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed-dev
TABLES := kmeans features scaling

.PHONY: venv demo demo-sweep test check equivalence bench lint clean

venv: $(INSTALLED)

# uv installs in seconds what it has once fetched; pip stays in the environment for those who want it. Compiled once here,
# the packages need not be compiled by a dozen processes at once when Ray first starts.
$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[dev]'
	touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/musicssl demo --out demo-run

demo-sweep: $(INSTALLED)
	$(BIN)/musicssl demo-data demo-sweep/data --sets pool,gtzan,giantsteps
	$(BIN)/musicssl prepare --audio demo-sweep/data/pool --out demo-sweep/shards
	$(BIN)/musicssl tune tune_spaces/demo.yaml --shards demo-sweep/shards --run-dir demo-sweep --data demo-sweep/data/datasets

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

check: lint
	$(BIN)/python -m pytest -n 2 -m 'not ray and not slow and not chaos' --ignore tests/equivalence -q

equivalence: $(INSTALLED)
	$(BIN)/python -m pytest tests/equivalence -v

bench: $(INSTALLED)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[bench]'
	for table in $(TABLES); do $(BIN)/python -m benchmarks.$$table || exit 1; done

test: lint
	$(BIN)/python -m pytest

clean:
	rm -rf demo-run demo-sweep .pytest_cache .ruff_cache
