# Every target makes its own environment: a machine with python3 and make is enough.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Python caches what it compiles, whatever the caller's environment says: tests start hundreds of processes, and each would compile it all again.
unexport PYTHONDONTWRITEBYTECODE

UV_VERSION := 0.13.9
TOOLS := .tools
# An installed uv is used; else one is installed into .tools with the machine's python3.
UV := $(shell command -v uv 2>/dev/null || echo $(TOOLS)/bin/uv)
RUN := .venv/bin
STAMP := .venv/.synced

.PHONY: help env demo test lint house format docs images build check-build publish clean nightly programs
help: ## Show this help
	@grep -hE '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %s\n        %s\n", $$1, $$2}'

$(TOOLS)/bin/uv:
	@python3 -m venv $(TOOLS) 2>/dev/null || { echo "python3 cannot make virtual environments; install python3-venv (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"

$(STAMP): pyproject.toml proof/pyproject.toml setup/pyproject.toml uv.lock $(filter $(TOOLS)/bin/uv,$(UV))
	@$(UV) sync --quiet --frozen --all-packages --all-extras
	@touch $@

# What benchmarks and mutation runs need on top.
.venv/.synced-bench .venv/.synced-mutation: .venv/.synced-%: $(STAMP)
	@$(UV) sync --quiet --frozen --all-packages --all-extras --inexact --group $*
	@touch $@

# The model server is a distribution of its own, with its own lock file and an environment for each of its groups: two generations of transformers and diffusers
# (4 GB, most of it torch, which they share), the newer one with real weights (200 MB) or beside other servers, and client libraries of others.
MS := model_server/.venv
MS_INPUTS := model_server/pyproject.toml model_server/uv.lock $(filter $(TOOLS)/bin/uv,$(UV))
MS_GROUPS_real := --group libraries-5
MS_GROUPS_beside := --group libraries-5

$(MS)/.synced: $(MS_INPUTS)
	@$(UV) --project model_server sync --quiet --frozen
	@touch $@

$(MS)-vllm/.synced: $(MS_INPUTS) model_server/tests/vllm/pyproject.toml model_server/tests/vllm/uv.lock
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/$(MS)-vllm $(UV) --project model_server/tests/vllm sync --quiet --frozen
	@touch $@

$(MS)-%/.synced: $(MS_INPUTS)
	@UV_PROJECT_ENVIRONMENT=.venv-$* $(UV) --project model_server sync --quiet --frozen --group $* $(MS_GROUPS_$*)
	@touch $@

env: $(STAMP) ## Make the virtual environment from the lock file

demo: $(STAMP) ## Play a shortage without a cloud: failover and fallback in about a minute
	@$(RUN)/failoverctl demo $(ARGS)

# Half of these tests wait, for servers or for the load that they measure: more of them than cores run at a time (docs/decisions/0029).
test: $(STAMP) ## The tests that need nothing but package registries (three minutes); builds no program
	@FAILOVER_TEST_BUILD=no $(RUN)/python -m pytest -n 4 --dist worksteal $(ARGS)

# World tests mostly wait for controllers; each worker has a control plane and an account of its own. Images are built by one process.
test-unit: export FAILOVER_TEST_BUILD := no
test-world: WORKERS := 4
test-image: WORKERS := 0
test-unit test-heavy test-simulation test-cluster test-world test-image: test-%: $(STAMP) ## Another tier of tests (CONTRIBUTING.md says what each needs)
	@$(RUN)/python -m pytest -n $(or $(WORKERS),2) --dist worksteal --tier $* $(ARGS)

test-model-server: $(MS)/.synced ## Tests of the model server's core
	@cd model_server && .venv/bin/python -m pytest -n 4 --dist worksteal $(ARGS)

# What compiles runs on the newer generation, which the images with torch.compile have: it takes most of the time.
test-pipelines: $(MS)-libraries-4/.synced $(MS)-libraries-5/.synced $(STAMP) ## Tests of its pipelines on the processor, on both generations of their libraries (4 GB)
	@cd model_server && .venv-libraries-4/bin/python -m pytest -n 2 tests/pipelines -m "not compiles and not real" $(ARGS)
	@cd model_server && .venv-libraries-5/bin/python -m pytest -n 2 tests/pipelines $(ARGS)
	@$(RUN)/python -m pytest --tier model-server

# Each client library in a process of its own, since both register the protocol's messages.
test-clients: $(MS)-clients/.synced ## The default calls of tritonclient and kserve against the model server
	@cd model_server && .venv-clients/bin/python -m pytest tests/clients/test_triton.py $(ARGS)
	@cd model_server && .venv-clients/bin/python -m pytest tests/clients/test_kserve.py $(ARGS)

test-vllm: $(MS)-vllm/.synced ## The adapter against vLLM itself, in its build for processors (x86-64, 5 GB)
	@cd model_server && .venv-vllm/bin/python -m pytest -m engine tests/adapter/test_real_vllm.py $(ARGS)

test-model-server-real: $(MS)-real/.synced ## Slow tests of the model server's answers: real weights, and models trained here
	@cd model_server && .venv-real/bin/python -m pytest -m real -rP tests/pipelines $(ARGS)

nightly: $(STAMP) ## Everything that the gate leaves out, in parts (ARGS="--list", ARGS="--only world,vllm", ARGS="--changed main~5")
	@$(RUN)/python -m tools.parts night $(ARGS)

programs: $(STAMP) ## Build the programs that tests start into the cache (Go, eight minutes), or the load-balancer controller (SOURCE=its checkout)
	@$(RUN)/python -m failover_harness.control_plane.binaries $(if $(SOURCE),--source "$(SOURCE)",crane helm promtool vegeta) >/dev/null

# docs/laboratory/benchmarks.md says what each measures, and how long it takes.
bench-soak bench-takeover bench-objects bench-commands bench-imports research-patience: WRITE := --write
bench-worth: WRITE := --play
bench-worlds: WRITE := --write benchmarks/results/worlds.json
bench-worlds: MODULE := failover_analysis.fuzz.hours
bench-policy: MODULE := research
bench-breaking-point-model-server: MODULE := benchmarks.breaking_point.model_server
experiments: MODULE := benchmarks.experiments
fuzz-proof: MODULE := failover_analysis.fuzz --processes 2
research-patience: MODULE := research.patience
bench-model-server bench-breaking-point-model-server: $(MS)-libraries-5/.synced
bench-model-server: $(MS)-beside/.synced ## A benchmark; docs/laboratory/benchmarks.md has them all (ARGS="--quick" is a short run)
experiments bench-react bench-soak bench-takeover bench-objects bench-switch bench-policy bench-model-server bench-breaking-point \
  bench-breaking-point-model-server: .venv/.synced-bench
experiments fuzz-proof research-patience bench-election bench-simulation bench-commands bench-imports bench-month bench-returns bench-worlds bench-worth \
  bench-react bench-soak bench-takeover bench-objects bench-switch bench-policy bench-model-server bench-breaking-point \
  bench-breaking-point-model-server: $(STAMP)
	@$(RUN)/python -m $(or $(MODULE),benchmarks.$(subst -,_,$(@:bench-%=%))) $(WRITE) $(ARGS)

fuzz: $(STAMP) $(MS)/.synced ## Every parser of both distributions with inputs that are nearly right, a minute each (25 minutes on 2 cores; ARGS="--seconds 5")
	@$(RUN)/python -m tests.fuzz $(ARGS)
	@cd model_server && PYTHONPATH=.. .venv/bin/python -m tests.fuzz $(ARGS)

mutation: .venv/.synced-mutation ## Mutants of the policy, and whether a test fails for each (12 minutes; goes on where it ended; ARGS="decide", ARGS="--share 20")
	@nice $(RUN)/python -m tools.mutation $(ARGS)
	@$(RUN)/python -m tools.mutation_score $(if $(filter-out --rooms,$(ARGS)),,--write) $(filter --rooms,$(ARGS))

lint: $(STAMP) $(MS)/.synced ## Style, types and the import contract, of both distributions
	@$(RUN)/ruff check
	@$(RUN)/ruff format --check
	@$(RUN)/mypy
	@$(RUN)/lint-imports
	@$(RUN)/hadolint Dockerfile deploy/images/*.Dockerfile
	@cd model_server && .venv/bin/mypy && .venv/bin/lint-imports >/dev/null

house: $(STAMP) ## How much of the code a reader must hold: sizes, settings, and what runs for one refusal
	@$(RUN)/python -m tools.house

format: $(STAMP) ## Format the code and fix what can be fixed
	@$(RUN)/ruff check --fix
	@$(RUN)/ruff format

GENERATORS := $(addprefix tools.,schema architecture_docs policy_docs situation_docs doctor_docs reliability_docs permissions contract_docs matrix_docs \
  compatibility_docs chart_schema chart_readme monitoring) failover_analysis.report.schema tests.analysis.report.golden_report benchmarks.worth benchmarks.outage_picture
docs: $(STAMP) ## Regenerate the JSON schemas, the generated parts of docs/ and the stacks of deploy/
	@for module in $(GENERATORS); do $(RUN)/python -m $$module; done
	@for name in bert llama llama8b mistral sd21 vit yolos; do $(RUN)/failoverctl render config/$$name.yaml --out deploy/stacks/$$name; done

images: $(STAMP) ## Write the Dockerfiles from deploy/images/images.yaml
	@$(RUN)/python -m deploy.images write

SBOM := export --quiet --frozen --no-dev --format cyclonedx1.5

# Equal inputs give equal bytes (tests/deploy/test_builds.py). Each bill of materials is of what an installation from the lock file holds.
build: $(filter $(TOOLS)/bin/uv,$(UV)) ## Build the wheels and source distributions of all four distributions, each with its SBOM (CycloneDX)
	@$(UV) build --quiet --all-packages --out-dir dist
	@$(UV) build --quiet model_server --out-dir dist
	@$(UV) $(SBOM) --package mixed-accelerator-failover --output-file dist/mixed-accelerator-failover.cdx.json >/dev/null
	@$(UV) $(SBOM) --package mixed-accelerator-failover-setup --output-file dist/mixed-accelerator-failover-setup.cdx.json >/dev/null
	@$(UV) $(SBOM) --package mixed-accelerator-failover-proof --output-file dist/mixed-accelerator-failover-proof.cdx.json >/dev/null
	@$(UV) --project model_server $(SBOM) --output-file dist/failover-model-server.cdx.json >/dev/null

# The program that reads them as the package index does. It is no dependency of anything here.
check-build: $(filter $(TOOLS)/bin/uv,$(UV)) ## Check that a package index would take what `make build` made, and can render its descriptions
	@$(UV) tool run --quiet 'twine==6.2.0' check --strict dist/*.whl dist/*.tar.gz

publish: $(filter $(TOOLS)/bin/uv,$(UV)) ## Upload what `make build` made to PyPI, as the workflow that PyPI trusts (docs/releasing.md)
	@$(UV) publish --trusted-publishing always dist/*.whl dist/*.tar.gz

clean: ## Remove what the other targets made
	@rm -rf .venv model_server/.venv* $(TOOLS) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov
