# Two commands matter: `make demo` (train and test SUM-L on a rendered sample), `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Runs of the ablation side by side.
JOBS ?= 2
.PHONY: install dev demo gpu ablation test lint format docs clean

# torch is installed first: every later requirement is met by that build.
$(BIN)/.installed: requirements.txt setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; set PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' requirements.txt)"
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

$(BIN)/.installed-dev: $(BIN)/.installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

$(BIN)/.installed-docs: $(BIN)/.installed requirements-docs.txt
	$(BIN)/python -m pip install --quiet -r requirements-docs.txt
	touch $@

install: $(BIN)/.installed

dev: $(BIN)/.installed-dev

demo: install
	$(BIN)/python tools/demo.py

# Proves and measures the CUDA path in 9 minutes, on the sample that is there or rendered first.
# GPUS=2 adds what several GPUs have.
GPUS ?= 1
gpu: dev
	test -f data/sample/pairs.npz || $(BIN)/python tools/make_sample.py --out data/sample
	test -f data/sample/pairs.npz || $(BIN)/python tools/mine_pairs.py --cfg configs/sample/SUML_tiny.yaml
	$(BIN)/python tools/gpu_check.py --gpus $(GPUS)

# Resumes where it was interrupted.
ablation: install
	$(BIN)/python tools/make_sample.py --preset ablation --out data/ablation train_segments=768 segments_per_video=24
	$(BIN)/python tools/ablate.py configs/ablation/finetune.yaml --jobs $(JOBS)

test: dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Updates the page of config keys and builds the site in build/site; a broken link is an error.
docs: $(BIN)/.installed-docs
	$(BIN)/python -m slowfast.config.reference > docs/config.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) runs data/sample data/ablation build *.egg-info
