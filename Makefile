# `make help` lists the targets. Everything runs from the checkout, in .venv.
.SHELLFLAGS := -ec
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

PYTHON ?= python3
BIN := .venv/bin
export PYTHONPATH := $(CURDIR)

# An option is passed on only where its variable was set: defaults live in the programs.
option = $(if $($(1)),--$(2) '$($(1))')
list = $(if $($(1)),--$(2) $($(1)))
switch = $(if $(filter-out 0,$($(1))),--$(2))
without_counters = $(if $(filter 0,$(COUNTERS)),--no-counters)
# Said before anything is installed: $(call require,target,VARIABLE,example).
require = $(if $(filter $(1),$(MAKECMDGOALS)),$(if $($(2)),,$(error $(2) is missing, for example: make $(1) $(3))))
$(call require,sim,NET,NET=fusionet-nano)
$(call require,estimate,NET,NET=fusionet)
$(call require,report,NET,NET=fusionet-nano)
$(call require,verilog,PRESET,PRESET=small)
$(call require,synth,PRESET,PRESET=small TARGET=ecp5)
$(call require,fpga,PRESET,PRESET=tiny)
$(call require,precision,NET,NET=fusionet-nano)
$(call require,export,SPEC,SPEC=my-network.toml WEIGHTS=random SEED=1)
$(call require,train,NET,NET=fusionet-nano STAGE=vanilla)
$(call require,survivors,NET,NET=fusionet-nano LIMITS='0.4/0.3 0.3/0.2')
$(call require,matrix,NET,NET='fusionet-nano shufflenet-nano' SEED='0 1')

.PHONY: help
help: ## This list
	@echo 'usage: make TARGET [VARIABLE=value ...]'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@awk -F ' ?#: ' '/^#: / {printf "  %s\n", $$2}' $(firstword $(MAKEFILE_LIST))

#: NET=fusionet-nano      sim, bench, report: a network's name or a bundle's path; train: a network's name or its .toml's path; matrix: some
#: IMAGES=2               sim, report, precision: how many test images; train, matrix: only the first so many training images
#: PRESET=small           sim, bench, verilog, synth, fpga: a named configuration; the first two take the smallest that fits
#: LANES=8                sim, bench: lanes of the accelerator, instead of the preset's number
#: MAX_KERNEL=5           sim, verilog, synth, fpga: largest depthwise kernel of the accelerator, 3 or 5
#: SEED=1                 sim, soak, export, train, precision: seed of everything random; matrix: some
#: WAVES=1                sim: record waveforms
#: TRACE=1                sim: write what the units do in every cycle to build/NET/trace.json, which opens in ui.perfetto.dev
#: SIM=icarus             sim: simulator, verilator (default) or icarus
#: BUS=axi                sim: run on AXI with the host's driver, instead of the accelerator's own streams
#: RUNS=3                 bench: how often everything is measured
#: MANY=1                 explore: more values, and more of them combined
#: CONFIRM=3              explore: how many of the Pareto points run on the RTL, else all
#: TARGET=ecp5            synth: device family
#: GRADE=6                fpga: speed grade of the device, 6, 7 or 8 (default)
#: COUNTERS=0             verilog, synth, fpga: leave out the counters of what units do
#: ONLY=queue             formal: a proof, or the beginning of some proofs' names
#: SPEC=my-network.toml   export: a network's name or its .toml's path
#: WEIGHTS=random         export: random or trained weights
#: DATASET=cifar100       train, export, report, precision: cifar10 (default), cifar100, fashion-mnist or svhn; matrix: some
#: STAGE=vanilla          train: vanilla, pruned, pred (networks with fused blocks) or quantized; matrix: some, else all
#: EPOCHS=10              train, matrix: instead of the recipe's number
#: MINUTES=60             train, matrix: stop a run after the epoch in which this time ends; soak: begin no further network
#: NETWORKS=10            soak: how many random networks at most
#: STOP=1                 soak: at the first network that fails
#: RESUME=1               train: continue the interrupted run
#: ANEW=1                 train, survivors: delete the runs that are there, and begin again
#: PREDICTOR=forward      train: how the predictor's weights become ternary, forward or constraint
#: STEPS=50               precision: train so many steps with each choice's numbers, instead of rounding alone
#: KINDS='weights plain'  precision: kinds of choices, else all
#: KEEP=1                 precision: write docs/precision.md, too
#: TEST_IMAGES=1000       train, matrix: only the first so many test images
#: RESOLUTION=16          train: average all images down to this size
#: KERNEL=keras           train: what computes the blocks, auto (default), keras or native
#: BALANCED=1             train, export: prune blocks evenly over their input channels, so that lanes share the work evenly
#: SURVIVORS_FIRST=0.5    train: share that may survive a block's first ReLU; export: of random weights
#: SURVIVORS_SECOND=0.4   train, export: the same of the second ReLU
#: SURVIVOR_RAMP=0.5      train: fraction of the steps in which these shares fall to their limits
#: LIMITS='0.4/0.3 0.3/0.2'   survivors: shares FIRST/SECOND of every setting
#: RAISES='0/0.1'         survivors: levels FIRST/SECOND by which thresholds are raised, measured besides
#: START=FOLDER           train, survivors: start from this run folder of the same network
#: WIDEN=FOLDER           train: start from this run folder of a narrower network
#: CLUSTER=slurm          train, matrix: submit jobs, as processes here (local) or to Slurm (slurm)
#: JOBS=2                 matrix: runs at a time, as processes here

.PHONY: sim
sim: .venv/.sim ## Run a network's real images through the RTL and compare every bit (NET IMAGES PRESET LANES MAX_KERNEL SEED WAVES TRACE SIM BUS)
	@$(BIN)/python -m sim run '$(NET)' $(call option,IMAGES,images) $(call option,PRESET,preset) $(call option,LANES,lanes) \
		$(call option,SEED,seed) $(call switch,WAVES,waves) $(call switch,TRACE,trace) \
		$(call option,SIM,simulator) $(call option,BUS,bus) $(call option,MAX_KERNEL,kernel)

.PHONY: test
test: .venv/.dev ## Install everything, then check, then run every test
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest @sim/parallel.pytest

.PHONY: check
check: .venv/.dev ## Lint, types and the arrows between packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

.PHONY: verilog
verilog: .venv/.sim ## Write the accelerator as Verilog (PRESET MAX_KERNEL COUNTERS)
	@$(BIN)/python -m sim verilog '$(PRESET)' $(call option,MAX_KERNEL,kernel) $(without_counters)

.PHONY: synth
synth: .venv/.synth ## Synthesise and print LUT4, DSP, BRAM and FF per unit (PRESET MAX_KERNEL TARGET COUNTERS)
	@$(BIN)/python -m sim synth '$(PRESET)' $(call option,MAX_KERNEL,kernel) $(call option,TARGET,target) $(without_counters)

.PHONY: fpga
fpga: .venv/.synth ## Place and route for ECP5 and print clock, slowest path and area (PRESET MAX_KERNEL GRADE COUNTERS)
	@$(BIN)/python -m sim fpga '$(PRESET)' $(call option,MAX_KERNEL,kernel) $(call option,GRADE,grade) $(without_counters)

.PHONY: formal
formal: .venv/.formal ## Prove properties of queues, arbiters, scan and accumulators (ONLY)
	@$(BIN)/python -m sim formal $(call option,ONLY,only)

.PHONY: coverage
coverage: .venv/.dev ## Measure line, toggle and functional coverage of the tests (about 45 minutes)
	@$(BIN)/python -m sim coverage

.PHONY: soak
soak: .venv/.sim ## Run random networks on random configurations for a given time (MINUTES SEED NETWORKS STOP)
	@$(BIN)/python -m sim soak $(call option,MINUTES,minutes) $(call option,SEED,seed) \
		$(call option,NETWORKS,networks) $(call switch,STOP,stop)

.PHONY: bench
bench: .venv/.sim ## Measure speed and memory of building, simulation and golden model (NET PRESET LANES RUNS)
	@$(BIN)/python -m sim bench $(if $(NET),'$(NET)') $(call option,PRESET,preset) $(call option,LANES,lanes) \
		$(call option,RUNS,runs)

.PHONY: estimate
estimate: .venv/.sim ## Estimate the cycles of every layer of a network, beside the last run's (NET PRESET LANES SEED)
	@$(BIN)/python -m sim estimate '$(NET)' $(call option,PRESET,preset) $(call option,LANES,lanes) $(call option,SEED,seed)

.PHONY: report
report: .venv/.sim ## Write a page of HTML on a network: accuracy, sparsity, survivors, predictions (NET DATASET IMAGES)
	@$(BIN)/archon report '$(NET)' $(call option,DATASET,dataset) $(call option,IMAGES,images)

.PHONY: explore
explore: .venv/.synth ## Sweep generator parameters: cycles against LUT4 and DSP, the best on the RTL (NET PRESET MANY CONFIRM SEED)
	@$(BIN)/python -m sim explore $(if $(NET),'$(NET)') $(call option,PRESET,preset) $(call switch,MANY,many) \
		$(call option,CONFIRM,confirm) $(call option,SEED,seed)

.PHONY: export
export: .venv/.sim ## Write a network's bundle, with random or trained weights (SPEC WEIGHTS DATASET SEED)
	@$(BIN)/archon export '$(SPEC)' $(call option,WEIGHTS,weights) $(call option,DATASET,dataset) $(call option,SEED,seed) \
		$(call option,SURVIVORS_FIRST,survivors-first) $(call option,SURVIVORS_SECOND,survivors-second) \
		$(call switch,BALANCED,balanced)

.PHONY: train
train: .venv/.dev ## Train a stage of a network (NET DATASET STAGE EPOCHS MINUTES RESUME ANEW SEED CLUSTER ...)
	@$(BIN)/archon train '$(NET)' $(call option,DATASET,dataset) $(call option,STAGE,stage) $(call option,EPOCHS,epochs) \
		$(call option,MINUTES,max-minutes) $(call switch,RESUME,resume) $(call switch,ANEW,anew) $(call option,SEED,seed) \
		$(call option,PREDICTOR,predictor) $(call option,IMAGES,images) $(call option,TEST_IMAGES,test-images) \
		$(call option,RESOLUTION,resolution) $(call option,KERNEL,kernel) $(call option,WIDEN,widen) $(call option,START,start) \
		$(call option,SURVIVORS_FIRST,survivors-first) $(call option,SURVIVORS_SECOND,survivors-second) \
		$(call option,SURVIVOR_RAMP,survivor-ramp) $(call option,CLUSTER,cluster) \
		$(if $(filter-out vanilla,$(STAGE)),$(call switch,BALANCED,balanced))

.PHONY: survivors
survivors: .venv/.dev ## Train with several limits on survivors; accuracy, survivors and cycles (NET LIMITS RAISES EPOCHS START PRESET ...)
	@$(BIN)/archon survivors '$(NET)' $(call list,LIMITS,limits) $(call list,RAISES,raises) $(call option,DATASET,dataset) \
		$(call option,EPOCHS,epochs) $(call option,START,start) $(call option,PRESET,preset) $(call option,SEED,seed) \
		$(call switch,ANEW,anew) \
		$(call option,IMAGES,images) $(call option,TEST_IMAGES,test-images)

.PHONY: matrix
matrix: .venv/.dev ## Train networks x data sets x stages x seeds, with one table (NET DATASET STAGE SEED CLUSTER JOBS EPOCHS MINUTES ...)
	@$(BIN)/archon matrix $(NET) $(call list,DATASET,dataset) $(call list,STAGE,stage) $(call list,SEED,seed) \
		$(call option,CLUSTER,cluster) $(call option,JOBS,jobs) $(call option,EPOCHS,epochs) \
		$(call option,MINUTES,max-minutes) $(call option,IMAGES,images) $(call option,TEST_IMAGES,test-images)

.PHONY: results
results: .venv/.sim ## Write docs/results.md: what every network reached, from the logs, beside what was published
	@$(BIN)/archon results

.PHONY: precision
precision: .venv/.dev ## Quantise a trained network at other widths: accuracy, tables, adders (NET DATASET IMAGES STEPS KINDS SEED KEEP)
	@$(BIN)/archon precision '$(NET)' $(call option,DATASET,dataset) $(call option,IMAGES,images) $(call option,STEPS,steps) \
		$(call list,KINDS,only) $(call option,SEED,seed) $(call switch,KEEP,keep)

.PHONY: lock
lock: .venv/.dev ## Resolve the dependencies again and write requirements/*.lock
	@$(BIN)/uv pip compile $(LOCK_OPTIONS) --group synth --group formal --group train --group dev -o requirements/dev.lock
	@$(BIN)/uv pip compile $(LOCK_OPTIONS) -c requirements/dev.lock -o requirements/sim.lock
	@$(BIN)/uv pip compile $(LOCK_OPTIONS) -c requirements/dev.lock --group synth -o requirements/synth.lock
	@$(BIN)/uv pip compile $(LOCK_OPTIONS) -c requirements/dev.lock --group synth --group formal -o requirements/formal.lock
LOCK_OPTIONS := pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --group sim

.PHONY: clean
clean: ## Remove build/ and the environment
	rm -rf build .venv

# The environment. A stamp says which lock file it was last filled from.
.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed, but no '$(PYTHON)' was found." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; ok = v >= (3, 11); ok or print( \
		"Python 3.11 or newer is needed, but $(PYTHON) is %d.%d; name another with PYTHON=." % (v[0], v[1]), \
		file=sys.stderr); sys.exit(0 if ok else 2)'
	@rm -rf .venv
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "$(PYTHON) cannot make a virtual environment; install its venv package (see above)." >&2; exit 2; }

# The command line, from wherever it is called.
.venv/bin/archon: | .venv/bin/python
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s/python" -m sw "$$@"\n' '$(CURDIR)' '$(CURDIR)/$(BIN)' > $@
	@chmod +x $@

.venv/.sim .venv/.synth .venv/.formal .venv/.dev: .venv/.%: requirements/%.lock | .venv/bin/python .venv/bin/archon
	@echo "Installing requirements/$*.lock into .venv"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r $<
	@touch $@

