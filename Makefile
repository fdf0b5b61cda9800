# Needs git, make, Python >= 3.11 and a package index; everything else lands in .venv.
SHELL := bash
PYTHON ?= python3
CORES ?= all
UV_VERSION := 0.13.8
AUDIT_VERSION := 2.10.1
BIN := .venv/bin
READY := .venv/ready
export PYTHONDONTWRITEBYTECODE := # cached bytecode starts every step in half the time

.PHONY: help demo test site nightly fuzz lint audit format record restore repro provenance reproduce hooks slurm-recover pictures ablation testbed tiles confidence recipes splits intervals performance lock clean
.DEFAULT_GOAL := help

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Rebuilt when the lock changes. pip's own index setting, a mirror for instance, goes for uv too.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "CerraSeg needs Python >= 3.11; say: make PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet uv==$(UV_VERSION)
	@index=$$($(BIN)/pip config get global.index-url 2>/dev/null); $(BIN)/uv pip sync --python $(BIN)/python --require-hashes $${index:+--default-index "$$index"} requirements.txt
	@touch $@

demo: $(READY) ## Train, score and map the demo scenarios; then the report
	@$(BIN)/snakemake --cores $(CORES)
	@test results/report.html -nt results/overview.html || $(BIN)/snakemake --report results/report.html
	@echo "Look at it all: results/overview.html   Scores: results/benchmark.md   Maps: results/scenarios/*/mosaic, results/scenes"

test: $(READY) ## Run the test suite
	@$(BIN)/python -m pytest

site: $(READY) ## Build the documentation as web pages, site/index.html; warnings are errors
	@$(BIN)/python -m sphinx -W --keep-going -q docs site
	@echo "Look at it: site/index.html"

nightly: $(READY) ## Run the tests that take minutes: SLURM, a browser, kills, fuzz, benchmarks; ARGS="-m ci" for those of CI
	@$(BIN)/python -m pytest tests/nightly $(ARGS)

fuzz: $(READY) ## Try thousands of damaged and absurd files and configurations; CASES=5000 a property
	@CERRASEG_CASES=$(or $(CASES),5000) $(BIN)/python -m pytest tests/nightly/fuzz

lint: $(READY) ## Check format, style, types and the workflow
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/snakemake --lint

audit: $(READY) ## Look the locked dependencies up in the database of known vulnerabilities
	@index=$$($(BIN)/pip config get global.index-url 2>/dev/null); $(BIN)/uv tool run $${index:+--default-index "$$index"} pip-audit==$(AUDIT_VERSION) -r requirements.txt --require-hashes --disable-pip

format: $(READY) ## Bring code and rules into the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/snakefmt Snakefile workflow

record restore: $(READY)
	@$(BIN)/python -m cerraseg.orchestration.dvc_sync $@

record: ## Commit what Snakemake calls up to date to dvc.lock and DVC's cache
restore: ## After dvc pull or dvc checkout: tell Snakemake that these files are right

repro: $(READY) ## Make what DVC calls stale, and record it; ARGS go to dvc repro
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro $(ARGS)

provenance reproduce: $(READY)
	@test -n "$(RESULT)" || { echo 'usage: make $@ RESULT=results/scores/<id>/metrics.json'; exit 2; }
	@$(BIN)/python -m cerraseg.orchestration.provenance.$(@:provenance=lineage) "$(RESULT)" $(ARGS)

provenance: ## Tell what made RESULT=<file of a results folder>, from what, and what changed since
reproduce: ## Make RESULT=<file> again from the raw source and compare; ARGS go to Snakemake

hooks: $(READY) ## Install git hooks: lint at a commit, dvc checkout and restore after a git checkout
	@$(BIN)/pre-commit install --hook-type pre-commit --hook-type post-checkout --hook-type post-merge

pictures: demo ## Draw the README's pictures again, from the demo, and those of the site
	@mkdir -p docs/images
	@cp results/benchmark.svg results/figures/fullres-concat-nw-l1-tuned-666/map.png docs/images/
	@cp results/scenes/unseen/fullres-concat-nw-l1-tuned-666/map.png docs/images/scene.png
	@$(BIN)/python docs/screenshots.py results/overview.html docs/images
	@$(MAKE) --no-print-directory site
	@$(BIN)/python docs/site_pictures.py site docs/images

ablation: $(READY) ## Compare the arms of the tuned recipe and an ensemble, and write docs/recipes.md and docs/confidence.md
	@$(BIN)/snakemake --cores $(CORES) results-ablation/benchmark.md results-ablation/scenes/unseen/{seeds-concat-nw-l2-ensemble-0,fullres-concat-nw-l2-nod4-1}/map.png --configfile config/ablation.yaml
	@for table in ablation arms transnuseg; do PYTHONPATH=. $(BIN)/python docs/comparisons.py $$table results-ablation docs/recipes.md; done
	@PYTHONPATH=. $(BIN)/python docs/comparisons.py ensemble results-ablation docs/confidence.md

testbed: ablation ## Compare classifiers on the simulated landscape, turn its knobs, and write docs/simulation.md
	@PYTHONPATH=. $(BIN)/python docs/testbed_study.py config/ablation.yaml docs/simulation.md

tiles: demo ## Compare ways to tile a map by the demo's models, and write docs/maps.md
	@PYTHONPATH=. $(BIN)/python docs/tile_study.py results docs/maps.md

confidence: ablation ## Measure calibration and class sets on ground of the same kind and of another, and write docs/confidence.md
	@PYTHONPATH=. $(BIN)/python docs/confidence_study.py config/ablation.yaml results-ablation/models/fullres-concat-nw-l2-nod4-1/checkpoint.pt docs/confidence.md

recipes: $(READY) ## Compare weightings and the hierarchical head, and write docs/recipes.md
	@$(BIN)/snakemake --cores $(CORES) results-recipes/{benchmark.md,scenarios/fullres-concat-nw-l2-hierarchical-{1,2,3}/mosaic} --configfile config/recipes.yaml
	@PYTHONPATH=. $(BIN)/python docs/comparisons.py recipes results-recipes docs/recipes.md
	@PYTHONPATH=. $(BIN)/python docs/comparisons.py levels results-recipes docs/recipes.md

splits: $(READY) ## Compare random folds with folds of blocks, and write docs/splits.md
	@PYTHONPATH=. $(BIN)/python docs/split_study.py config/splits.yaml docs/splits.md

intervals: $(READY) ## Simulate what the intervals cover, and write docs/intervals.md and what tables say of it
	@PYTHONPATH=. $(BIN)/python docs/interval_study.py docs/intervals.md

# The users' .venv never gets the peers; uv links both environments to the same files.
.venv-peers/ready: $(READY) requirements-peers.txt
	@test -x .venv-peers/bin/python || $(BIN)/python -m venv --without-pip .venv-peers
	@index=$$($(BIN)/pip config get global.index-url 2>/dev/null); $(BIN)/uv pip sync --python .venv-peers/bin/python --require-hashes $${index:+--default-index "$$index"} requirements.txt requirements-peers.txt
	@touch $@

performance: .venv-peers/ready ## Measure against the peers and write docs/performance.md; ARGS="pack mosaic" for these alone
	@PYTHONPATH=. .venv-peers/bin/python tests/benchmarks/performance.py $(ARGS)

slurm-recover: $(READY) ## After a killed run on SLURM: cancel what it left, wait, unlock and go on; ARGS="--configfile ..."
	@$(BIN)/python profiles/slurm/recover.py $(BIN)/snakemake --workflow-profile profiles/slurm $(ARGS)

lock: $(READY) ## Resolve the dependencies anew and write requirements.txt and requirements-peers.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --upgrade --group dev --custom-compile-command "make lock" --output-file requirements.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --upgrade --group pyproject.toml:peers --constraints requirements.txt --custom-compile-command "make lock" --output-file requirements-peers.txt

clean: ## Remove what the demo made; .venv and your own results stay
	@rm -rf results data/simulated .snakemake
