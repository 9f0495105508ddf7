# The words that people and CI use. Everything happens in .venv, made from the pinned lock.
PYTHON ?= python3.11
VENV ?= .venv
# Which of the tests on a SLURM, as pytest -k and -m; CI takes "not waits".
SLURM_TESTS ?=
SLURM_MARKS ?= slurm
# nproc heeds OMP_NUM_THREADS, which is about something else.
CORES ?= $(shell OMP_NUM_THREADS= nproc)
# CPUs that these variables make of one with AVX-512: old, with AVX2, and MKL's way that is the same on all.
OLD := ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=NEHALEM
AVX2 := ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=HASWELL
COMPATIBLE := MKL_CBWR=COMPATIBLE
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
# The shell meets what people write as values of its own, never as its text.
export PHOTOS CONFIG SLURM_TESTS SLURM_MARKS
# Errors, but no warnings of pip: of a newer pip, of root, of an index that is not there.
PIP := $(BIN)/pip install --quiet --quiet --disable-pip-version-check --root-user-action=ignore
# A kernel of the CPU is not worth a compiler run; DeepSpeed must not look for a GPU's.
export DS_BUILD_OPS := 0

# The workflow's own lock keeps one run at a time in a results folder (nearid.workflow.run_lock). Snakemake's would stay
# behind a killed run.
# The first job of a pack of heads trains all of them: the next one should not wait on a core meanwhile.
SNAKEMAKE := @snakemake --logger nearid --nolock --rerun-incomplete --cores $(CORES) --resources packed_heads=1 $(if $(GPUS),gpu=$(GPUS))

.PHONY: help setup paper demo test test-cpus test-slow test-slurm lint format bench bench-gpu dag report docs lock demo-backbone demo-seeds photos doctor plan rehearsal

help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 22

$(BIN)/.complete: envs/all.lock envs/hashed.lock envs/build.lock pyproject.toml
	@echo "setting up $(VENV) from envs/all.lock: some minutes and 3 GB the first time"
	@$(PYTHON) -m venv $(VENV)
	@# Every file is held against the hashes in envs/; nothing but these tools builds those that come as sources.
	@$(PIP) --require-hashes --requirement envs/build.lock
	@$(PIP) --require-hashes --no-deps --no-build-isolation --requirement envs/hashed.lock
	@# torch last and without: its wheel depends on the machine's index (CPU or CUDA), the rest does not.
	@$(PIP) "$$(grep '^torch==' envs/all.lock)"
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(BIN)/.complete ## create .venv from the lock

demo: setup ## from end to end once on the embedded data, to a results page (no GPU, no hub)
	$(SNAKEMAKE) --configfile config/demo.yaml
	@cat results/demo/paper/summary.txt
	@echo "The page: $(abspath results/demo/paper/index.html)"

paper: setup ## the paper's run on this machine, or another: make paper CONFIG=config/released.yaml GPUS=1
	$(SNAKEMAKE) $(if $(CONFIG),--configfile "$$CONFIG")

test: setup ## the tests that need no GPU, cluster or network (ten minutes)
	pytest

test-cpus: setup ## those of numerics again, as other CPUs compute (four minutes)
	for cpu in "$(OLD)" "$(AVX2)" "$(COMPATIBLE)"; do echo "$$cpu"; env $$cpu pytest -q -m "numerics and not slow and not gpu and not network" || exit 1; done

test-slow: setup ## those that take over a minute each: kills, whole runs, the paper's plan
	pytest -m "slow and not gpu and not slurm and not network"

test-slurm: setup ## the workflow on a real SLURM on this machine (root; installs packages of SLURM and MariaDB; three quarters of an hour)
	tests/cluster/install.sh
	pytest -m "slurm and not slow and $$SLURM_MARKS" -k "$$SLURM_TESTS" tests/cluster

lint: setup ## ruff, types, snakefmt, snakemake --lint
	ruff check
	ruff format --check
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint
	snakemake --lint --configfile config/demo.yaml

format: setup ## put the code in shape
	ruff check --fix
	ruff format
	snakefmt Snakefile workflow

bench: setup ## what the speed claims rest on
	# They share a module in their own folder. Trials of the demo's backbones take arguments.
	for script in $(filter-out benchmarks/gpu.py benchmarks/demo_%.py,$(wildcard benchmarks/*.py)); do PYTHONPATH=benchmarks OMP_NUM_THREADS=1 python $$script || exit 1; done

bench-gpu: setup ## what a GPU does, at full size with random weights: half an hour; nearid plan reads the rates
	@PYTHONPATH=benchmarks python benchmarks/gpu.py

dag: setup ## the rule graph as text for Graphviz
	@snakemake --rulegraph --configfile config/demo.yaml

report: setup ## Snakemake's own report of the demo
	snakemake --nolock --report results/demo/report.html --configfile config/demo.yaml

docs: setup ## config/README.md, config/schema.json and docs/formats.md from schemas
	nearid config readme > config/README.md.new && mv config/README.md.new config/README.md
	nearid config schema > config/schema.json.new && mv config/schema.json.new config/schema.json
	python docs/formats.py > docs/formats.md.new && mv docs/formats.md.new docs/formats.md

lock: setup ## pin anew what .venv holds
	python envs/lock.py

demo-backbone: setup ## pretrain the demo's backbone anew and put it in its place (about an hour)
	$(SNAKEMAKE) --configfile config/demo.yaml -- pretrain_backbone
	cp results/backbone/*.json results/backbone/*.jsonl results/backbone/*.safetensors src/nearid/demo/siglip/

demo-seeds: setup ## the demo with three seeds (data and heads), and their spread
	$(SNAKEMAKE) --configfile config/demo.yaml
	$(SNAKEMAKE) --configfile config/demo.yaml --config name=demo_s1 seed=1
	$(SNAKEMAKE) --configfile config/demo.yaml --config name=demo_s2 seed=2
	nearid paper seeds --results results/demo --results results/demo_s1 --results results/demo_s2 \
	  --output results/seeds

photos: setup ## your own photographs: make photos PHOTOS=folder
	@test -n "$$PHOTOS" || { echo "say which folder: make photos PHOTOS=path/to/folder"; exit 2; }
	@# Snakemake would read a name such as 2024_11 or true as a number or a truth value.
	$(SNAKEMAKE) --configfile config/demo.yaml config/photos.yaml \
	  --config "photos_dir=$$(case "$$PHOTOS" in (*/*) ;; (*) printf ./;; esac)$$PHOTOS"
	@cat results/photos/paper/summary.txt
	@echo "The page: $(abspath results/photos/paper/index.html)"

doctor: setup ## checks before hours are spent: make doctor CONFIG=config/demo.yaml (without CONFIG: the paper's run)
	nearid doctor $$CONFIG

plan: setup ## jobs, hours and disk, in all and still to do: make plan CONFIG=config/demo.yaml
	nearid plan $$CONFIG

rehearsal: setup ## every job of a config on small stand-ins of its downloads: make rehearsal CONFIG=config/released.yaml
	nearid rehearse $$CONFIG
