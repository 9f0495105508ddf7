# The commands that people and CI use. Everything runs in .venv, made from the pinned lock.
PYTHON ?= python3.11
VENV ?= .venv
# Selects tests on SLURM, as pytest's -k and -m; CI uses "not waits".
SLURM_TESTS ?=
SLURM_MARKS ?= not slow
# nproc obeys OMP_NUM_THREADS, which has another purpose.
CORES ?= $(shell OMP_NUM_THREADS= nproc)
# Variables that make a CPU with AVX-512 compute like others: an old one, one with AVX2, and MKL's mode for any CPU.
OLD := ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=NEHALEM
AVX2 := ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=HASWELL
COMPATIBLE := MKL_CBWR=COMPATIBLE
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
# The shell gets what people write as values of variables, never as part of a command's text.
export PHOTOS CONFIG SLURM_TESTS SLURM_MARKS
# Show pip's errors, but not its warnings (a newer pip, running as root, an index that does not answer).
PIP := $(BIN)/pip install --quiet --quiet --disable-pip-version-check --root-user-action=ignore
# DeepSpeed must not compile kernels: those for CPUs are not worth it, and those for GPUs are not used.
export DS_BUILD_OPS := 0

# The workflow's own lock allows one run at a time in a results folder (nearid.workflow.run_lock); Snakemake's lock would
# remain after a killed run.
# The first job of a pack of heads trains all of them: the next one should not occupy a core and wait.
SNAKEMAKE := @snakemake --logger nearid --nolock --rerun-incomplete --cores $(CORES) --resources packed_heads=1 $(if $(GPUS),gpu=$(GPUS))

.PHONY: help setup paper demo test test-cpus test-slow test-slurm lint format bench bench-gpu dag report docs lock demo-backbone demo-seeds photos doctor plan rehearsal

help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 22

$(BIN)/.complete: envs/all.lock envs/hashed.lock envs/build.lock pyproject.toml
	@echo "setting up $(VENV) from envs/all.lock: some minutes and 3 GB the first time"
	@$(PYTHON) -m venv $(VENV)
	@# Every file is checked against the hashes in envs/; sources are built with these tools only.
	@$(PIP) --require-hashes --requirement envs/build.lock
	@$(PIP) --require-hashes --no-deps --no-build-isolation --requirement envs/hashed.lock
	@# torch last and without a hash, since its wheel depends on the machine's index (CPU or CUDA).
	@$(PIP) "$$(grep '^torch==' envs/all.lock)"
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(BIN)/.complete ## create .venv from the lock

demo: setup ## a full run on the embedded data, up to the results page (no GPU, no hub)
	$(SNAKEMAKE) --configfile config/demo.yaml
	@cat results/demo/paper/summary.txt
	@echo "The page: $(abspath results/demo/paper/index.html)"

paper: setup ## the paper's run on this machine, or another config's: make paper CONFIG=config/released.yaml GPUS=1
	$(SNAKEMAKE) $(if $(CONFIG),--configfile "$$CONFIG")

test: setup ## tests that need no GPU, cluster or network (ten minutes)
	pytest

test-cpus: setup ## tests of numerics again, computed as on other CPUs (four minutes)
	for cpu in "$(OLD)" "$(AVX2)" "$(COMPATIBLE)"; do echo "$$cpu"; env $$cpu pytest -q -m "numerics and not slow and not gpu and not network" || exit 1; done

test-slow: setup ## tests that take over a minute each: kills, whole runs, the paper's plan
	pytest -m "slow and not gpu and not slurm and not network"

test-slurm: setup ## the workflow on a real SLURM on this machine (root; installs packages of SLURM and MariaDB; three quarters of an hour)
	tests/cluster/install.sh
	@# Most tests wait for most of their time: two clusters side by side.
	pytest -n 2 --dist loadfile -m "slurm and $$SLURM_MARKS" -k "$$SLURM_TESTS" tests/cluster

lint: setup ## ruff, types, snakefmt, snakemake --lint
	ruff check
	ruff format --check
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint
	snakemake --lint --configfile config/demo.yaml

format: setup ## format the code
	ruff check --fix
	ruff format
	snakefmt Snakefile workflow

bench: setup ## measure what the claims about speed are based on
	# They import a module from their own folder. Trials of the demo's backbones need arguments, and are left out.
	for script in $(filter-out benchmarks/gpu.py benchmarks/demo_%.py,$(wildcard benchmarks/*.py)); do PYTHONPATH=benchmarks OMP_NUM_THREADS=1 python $$script || exit 1; done

bench-gpu: setup ## measure a GPU at full size with random weights: half an hour; nearid plan uses the rates
	@PYTHONPATH=benchmarks python benchmarks/gpu.py

dag: setup ## the rule graph as text for Graphviz
	@snakemake --rulegraph --configfile config/demo.yaml

report: setup ## Snakemake's own report of the demo
	snakemake --nolock --report results/demo/report.html --configfile config/demo.yaml

docs: setup ## config/README.md, config/schema.json and docs/formats.md from schemas
	nearid config readme > config/README.md.new && mv config/README.md.new config/README.md
	nearid config schema > config/schema.json.new && mv config/schema.json.new config/schema.json
	python docs/formats.py > docs/formats.md.new && mv docs/formats.md.new docs/formats.md

lock: setup ## pin again what is installed in .venv
	python envs/lock.py

demo-backbone: setup ## pretrain the demo's backbone again and replace it (about an hour)
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
	@# Without ./ Snakemake would read a name such as 2024_11 or true as a number or a boolean.
	$(SNAKEMAKE) --configfile config/demo.yaml config/photos.yaml \
	  --config "photos_dir=$$(case "$$PHOTOS" in (*/*) ;; (*) printf ./;; esac)$$PHOTOS"
	@cat results/photos/paper/summary.txt
	@echo "The page: $(abspath results/photos/paper/index.html)"

doctor: setup ## checks before hours are spent: make doctor CONFIG=config/demo.yaml (without CONFIG: the paper's run)
	nearid doctor $$CONFIG

plan: setup ## jobs, hours and disk, in total and still to do: make plan CONFIG=config/demo.yaml
	nearid plan $$CONFIG

rehearsal: setup ## every job of a config on small stand-ins of its downloads: make rehearsal CONFIG=config/released.yaml
	nearid rehearse $$CONFIG
