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

.PHONY: help
help: ## Show this help
	@grep -hE '^[a-zA-Z_-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

$(TOOLS)/bin/uv:
	@python3 -m venv $(TOOLS) 2>/dev/null || { echo "python3 cannot make virtual environments; install python3-venv (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"

$(STAMP): pyproject.toml proof/pyproject.toml setup/pyproject.toml uv.lock $(filter $(TOOLS)/bin/uv,$(UV))
	@$(UV) sync --quiet --frozen --all-packages --all-extras
	@touch $@

# The model server is a distribution of its own, with its own lock file and environment.
MS_STAMP := model_server/.venv/.synced

$(MS_STAMP): model_server/pyproject.toml model_server/uv.lock $(filter $(TOOLS)/bin/uv,$(UV))
	@$(UV) --project model_server sync --quiet --frozen
	@touch $@

.PHONY: env
env: $(STAMP) ## Make the virtual environment from the lock file

.PHONY: demo
demo: $(STAMP) ## Play a shortage without a cloud: failover and fallback in about a minute
	@$(RUN)/failoverctl demo $(ARGS)

# Half of these tests wait, for servers or for the load that they measure: more of them than cores run at a time (docs/decisions/0029).
.PHONY: test
test: $(STAMP) ## The tests that need nothing but package registries, without test-heavy and test-simulation; builds no program
	@FAILOVER_TEST_BUILD=no $(RUN)/python -m pytest -n 4 --dist worksteal $(ARGS)

.PHONY: test-heavy
test-heavy: $(STAMP) ## Distributions built and installed, floods of objects, measured load, faults and incidents of whole processes
	@$(RUN)/python -m pytest -n 2 --dist worksteal --tier heavy $(ARGS)

.PHONY: test-simulation
test-simulation: $(STAMP) ## Whole simulated runs: days, each crash point, each broken core
	@$(RUN)/python -m pytest -n 2 --dist worksteal --tier simulation $(ARGS)

.PHONY: test-unit
test-unit: $(STAMP) ## The fast tests only, in seconds
	@FAILOVER_TEST_BUILD=no $(RUN)/python -m pytest -n 2 --dist worksteal --tier unit $(ARGS)

.PHONY: programs
programs: $(STAMP) ## Build the programs that the tests and test-cluster start, once, into the cache (needs Go; seven minutes)
	@$(RUN)/python -m failover_harness.control_plane.binaries crane helm promtool vegeta >/dev/null

# SOURCE: a checkout of the release that proof/failover_harness/control_plane/binaries.py pins; it is no module that the proxy has.
.PHONY: programs-lbc
programs-lbc: $(STAMP) ## Build the AWS Load Balancer Controller into the same cache, from a checkout of its source (SOURCE=folder)
	@$(RUN)/python -m failover_harness.control_plane.binaries --source "$(or $(SOURCE),$(error SOURCE=folder names a checkout of kubernetes-sigs/aws-load-balancer-controller))" >/dev/null

# Its tests mostly wait for controllers. Each worker has a control plane of its own.
.PHONY: test-cluster
test-cluster: $(STAMP) ## Tests on a real kube-apiserver, etcd, scheduler and controller manager (needs Go, or KUBEBUILDER_ASSETS)
	@$(RUN)/python -m pytest -n 2 --dist worksteal --tier cluster $(ARGS)

# Its tests mostly wait for controllers: more of them than cores run at a time. Each worker has a control plane and an account of its own.
.PHONY: release-rehearsal
release-rehearsal: ## A release from a tag to a running controller, on a registry and a control plane of this machine (needs Go)
	@$(MAKE) --no-print-directory test-cluster ARGS="tests/cluster/test_release.py -n 0 -o log_cli=true --log-cli-level=INFO $(ARGS)"

.PHONY: test-world
test-world: $(STAMP) ## Tests with the real Karpenter, KEDA and, after `make programs-lbc`, load-balancer controller, on the real control plane (needs Go)
	@$(RUN)/python -m pytest -n 4 --dist worksteal --tier world $(ARGS)

.PHONY: test-image
test-image: $(STAMP) ## Build all images on bases made here and run them as shipped (root, Debian, the programs of `make programs-images`)
	@$(RUN)/python -m pytest --tier image $(ARGS)

# Debian's own packages, into the machine itself: a test installs nothing there.
.PHONY: programs-images
programs-images: ## Install what test-image builds and runs images with (Debian; as root)
	@apt-get update --quiet --quiet
	@apt-get install --quiet --quiet --yes --no-install-recommends buildah podman runc debootstrap

# Two more, one for each generation of transformers and diffusers that the pipelines run on; 4 GB, most of it torch, which they share.
MS_GENERATIONS := model_server/.venv-libraries-4/.synced model_server/.venv-libraries-5/.synced

model_server/.venv-libraries-%/.synced: model_server/pyproject.toml model_server/uv.lock $(filter $(TOOLS)/bin/uv,$(UV))
	@UV_PROJECT_ENVIRONMENT=.venv-libraries-$* $(UV) --project model_server sync --quiet --frozen --group libraries-$*
	@touch $@

.PHONY: test-model-server
test-model-server: $(MS_STAMP) $(STAMP) ## Tests of the model server: the core, then the pipelines on both generations of their libraries
	@cd model_server && .venv/bin/python -m pytest -n 2 $(ARGS)
	@$(MAKE) --no-print-directory test-clients
	@$(MAKE) --no-print-directory test-pipelines
	@$(RUN)/python -m pytest --tier model-server

.PHONY: env-pipelines
env-pipelines: $(MS_GENERATIONS) ## Make both environments of the model server's pipelines

# What compiles runs on the newer generation, which the images with torch.compile have: it takes most of the time.
.PHONY: test-pipelines
test-pipelines: $(MS_GENERATIONS) ## Tests of the model server's pipelines on the processor, on both generations (ARGS="-k bert")
	@cd model_server && .venv-libraries-4/bin/python -m pytest -n 2 tests/pipelines -m "not compiles and not real" $(ARGS)
	@cd model_server && .venv-libraries-5/bin/python -m pytest -n 2 tests/pipelines $(ARGS)

# The second of the two with packages of real weights: 200 MB, which nothing else needs.
model_server/.venv-real/.synced: model_server/pyproject.toml model_server/uv.lock $(filter $(TOOLS)/bin/uv,$(UV))
	@UV_PROJECT_ENVIRONMENT=.venv-real $(UV) --project model_server sync --quiet --frozen --group libraries-5 --group real
	@touch $@

# Client libraries of others, which pin what servers use; each in a process of its own, since both register the protocol's messages.
model_server/.venv-clients/.synced: model_server/pyproject.toml model_server/uv.lock $(filter $(TOOLS)/bin/uv,$(UV))
	@UV_PROJECT_ENVIRONMENT=.venv-clients $(UV) --project model_server sync --quiet --frozen --group clients
	@touch $@

.PHONY: test-clients
test-clients: model_server/.venv-clients/.synced ## The default calls of tritonclient and kserve against the model server
	@cd model_server && .venv-clients/bin/python -m pytest tests/clients/test_triton.py $(ARGS)
	@cd model_server && .venv-clients/bin/python -m pytest tests/clients/test_kserve.py $(ARGS)

model_server/.venv-vllm/.synced: model_server/pyproject.toml model_server/tests/vllm/pyproject.toml model_server/tests/vllm/uv.lock $(filter $(TOOLS)/bin/uv,$(UV))
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/model_server/.venv-vllm $(UV) --project model_server/tests/vllm sync --quiet --frozen
	@touch $@

.PHONY: test-vllm
test-vllm: model_server/.venv-vllm/.synced ## The adapter against vLLM itself, in its build for processors (x86-64; a minute)
	@cd model_server && .venv-vllm/bin/python -m pytest -m engine tests/adapter/test_real_vllm.py $(ARGS)

.PHONY: test-model-server-real
test-model-server-real: model_server/.venv-real/.synced ## Slow tests of the model server's answers: real weights, and models trained here
	@cd model_server && .venv-real/bin/python -m pytest -m real -rP tests/pipelines $(ARGS)

.venv/.synced-bench: $(STAMP)
	@$(UV) sync --quiet --frozen --all-packages --all-extras --group bench
	@touch $@

model_server/.venv-beside/.synced: model_server/pyproject.toml model_server/uv.lock $(filter $(TOOLS)/bin/uv,$(UV))
	@UV_PROJECT_ENVIRONMENT=.venv-beside $(UV) --project model_server sync --quiet --frozen --group libraries-5 --group beside
	@touch $@

.PHONY: bench-model-server
bench-model-server: .venv/.synced-bench model_server/.venv-libraries-5/.synced model_server/.venv-beside/.synced ## What the model server adds to a bare pipeline, and what batching gives (ARGS="--quick")
	@$(RUN)/python -m benchmarks.model_server $(ARGS)

.PHONY: bench-election
bench-election: $(STAMP) ## Leader election: 100,000 simulated lease periods, and takeovers on a real kube-apiserver (ARGS="--quick")
	@$(RUN)/python -m benchmarks.election $(ARGS)

.PHONY: bench-react
bench-react: .venv/.synced-bench ## From a refused launch to the patched Ingress, on a real kube-apiserver (ARGS="--quick": 2 minutes)
	@$(RUN)/python -m benchmarks.react $(ARGS)

.PHONY: bench-soak
bench-soak: .venv/.synced-bench ## Two hours with churn and an API server that restarts: whether anything grows (ARGS="--minutes 12 --applications 100")
	@$(RUN)/python -m benchmarks.soak --write $(ARGS)

.PHONY: bench-takeover
bench-takeover: .venv/.synced-bench ## How long a takeover takes with 1,000 applications (six minutes)
	@$(RUN)/python -m benchmarks.takeover --write $(ARGS)

.PHONY: bench-objects
bench-objects: .venv/.synced-bench ## Applications as objects beside files: 2,000 on a real kube-apiserver (ten minutes; ARGS="--applications 100")
	@$(RUN)/python -m benchmarks.objects --write $(ARGS)

.PHONY: bench-commands
bench-commands: $(STAMP) ## CPU time and memory of each command, against the demo's servers (a minute and a half)
	@$(RUN)/python -m benchmarks.commands --write $(ARGS)

.PHONY: bench-imports
bench-imports: $(STAMP) ## What `failoverctl run` imports, and its memory with one application (half a minute)
	@$(RUN)/python -m benchmarks.imports --write $(ARGS)

.PHONY: bench-simulation
bench-simulation: $(STAMP) ## Five simulated years of random faults over 200 seeds, every invariant checked (ARGS="--quick")
	@$(RUN)/python -m benchmarks.simulation $(ARGS)

.PHONY: fuzz-proof
fuzz-proof: $(STAMP) ## 2,000 random worlds in which EC2 answers as in the field: who was short, and what was done (5 minutes; ARGS="--worlds 200")
	@timeout 1800 $(RUN)/python -m failover_analysis.fuzz --processes 2 $(ARGS)

.PHONY: bench-worlds
bench-worlds: $(STAMP) ## Random worlds of six hours in which the controller acts: false, missed and late proofs (ten minutes of processor time; a false proof ends it with 1)
	@timeout 7200 $(RUN)/python -m failover_analysis.fuzz.hours --write benchmarks/results/worlds.json $(ARGS)

.PHONY: fuzz
fuzz: $(STAMP) $(MS_STAMP) ## Every parser of both distributions with inputs that are nearly right, a minute each (25 minutes on 2 cores; ARGS="--seconds 5")
	@$(RUN)/python -m tests.fuzz $(ARGS)
	@cd model_server && PYTHONPATH=.. .venv/bin/python -m tests.fuzz $(ARGS)

.venv/.synced-mutation: $(STAMP)
	@$(UV) sync --quiet --frozen --all-packages --all-extras --group mutation
	@touch $@

.PHONY: mutation
mutation: .venv/.synced-mutation ## Mutants of the policy, and whether a test fails for each: by hand and at night (12 minutes on two cores; goes on where it ended; ARGS="decide", ARGS="--share 20", ARGS="--minutes 60")
	@nice $(RUN)/python -m tools.mutation $(ARGS)
	@$(RUN)/python -m tools.mutation_score --write $(filter --rooms,$(ARGS))

.PHONY: bench-month
bench-month: $(STAMP) ## What the policies cost and serve in the simulated month, over ten held-out seeds (360 runs; ARGS="--quick", ARGS="--seeds 4", ARGS="--only planned")
	@$(RUN)/python -m benchmarks.month $(ARGS)

.PHONY: bench-returns
bench-returns: $(STAMP) ## How soon a return of capacity is proven, with a canary and with a reservation (ten minutes; ARGS="--seeds 2 --days 1 --month 0", or ARGS="--karpenter": beside the real one)
	@$(RUN)/python -m benchmarks.returns $(ARGS)

.PHONY: bench-worth
bench-worth: $(STAMP) ## What the controller is worth against nothing, the AWS sample's checker and a priority list: README's table and picture (6 minutes of processor time)
	@$(RUN)/python -m benchmarks.worth --play
	@$(RUN)/python -m benchmarks.outage_picture

.PHONY: experiments
experiments: .venv/.synced-bench ## Play the AWS sample's three experiments and plot them into docs/images
	@$(RUN)/python -m benchmarks.experiments

.PHONY: bench-policy
bench-policy: .venv/.synced-bench ## How far the policies are from clairvoyant (ARGS="--quick", or ARGS="--trace FILE.csv" for a trace of yours)
	@$(RUN)/python -m research $(ARGS)

.PHONY: research-patience
research-patience: $(STAMP) ## How long a proven shortage should be observed, over 300 seeds, each with both kinds of EC2's answers (10 minutes; writes docs/research/patience.md)
	@timeout 1800 nice $(RUN)/python -m research.patience --write $(ARGS)

.PHONY: bench-switch
bench-switch: .venv/.synced-bench ## Switches under real requests through Envoy, ours and the naive one (12 minutes; ARGS="--quick": a minute and a half)
	@$(RUN)/python -m benchmarks.switch $(ARGS)

.PHONY: bench-breaking-point
bench-breaking-point: .venv/.synced-bench ## How near the breaking point that is found comes to the true one (20 minutes; ARGS="--quick")
	@$(RUN)/python -m benchmarks.breaking_point $(ARGS)

.PHONY: bench-breaking-point-model-server
bench-breaking-point-model-server: .venv/.synced-bench model_server/.venv-libraries-5/.synced ## The breaking point of our own model server on the processor, with its plot
	@$(RUN)/python -m benchmarks.breaking_point.model_server $(ARGS)

.PHONY: lint
lint: $(STAMP) $(MS_STAMP) ## Style, types and the import contract, of both distributions
	@$(RUN)/ruff check
	@$(RUN)/ruff format --check
	@$(RUN)/mypy
	@$(RUN)/lint-imports
	@$(RUN)/hadolint Dockerfile deploy/images/*.Dockerfile
	@cd model_server && .venv/bin/mypy && .venv/bin/lint-imports >/dev/null

.PHONY: house
house: $(STAMP) ## How much of the code a reader must hold: sizes, settings, and what runs for one refusal
	@$(RUN)/python -m tools.house

.PHONY: format
format: $(STAMP) ## Format the code and fix what can be fixed
	@$(RUN)/ruff check --fix
	@$(RUN)/ruff format

.PHONY: coverage
coverage: $(STAMP) ## Tests with branch coverage
	@$(RUN)/python -m pytest -n 4 --dist worksteal --tier unit,integration,heavy,simulation --cov --cov-report=term-missing:skip-covered $(ARGS)

.PHONY: docs
docs: $(STAMP) ## Regenerate the JSON schemas, the generated parts of docs/ and the stacks of deploy/
	@$(RUN)/python -m tools.schema
	@$(RUN)/python -m failover_analysis.report.schema
	@$(RUN)/python -m tests.analysis.report.golden_report
	@$(RUN)/python -m tools.architecture_docs
	@$(RUN)/python -m tools.policy_docs
	@$(RUN)/python -m tools.situation_docs
	@$(RUN)/python -m tools.doctor_docs
	@$(RUN)/python -m tools.reliability_docs
	@$(RUN)/python -m tools.permissions
	@$(RUN)/python -m tools.contract_docs
	@$(RUN)/python -m tools.matrix_docs
	@$(RUN)/python -m tools.compatibility_docs
	@$(RUN)/python -m benchmarks.worth
	@for name in bert llama llama8b mistral sd21 vit yolos; do $(RUN)/failoverctl render config/$$name.yaml --out deploy/stacks/$$name; done
	@$(RUN)/python -m tools.chart_schema
	@$(RUN)/python -m tools.chart_readme
	@$(RUN)/python -m tools.monitoring

.PHONY: images
images: $(STAMP) ## Write the Dockerfiles from deploy/images/images.yaml
	@$(RUN)/python -m deploy.images write

DIST := dist
SBOM := export --quiet --frozen --no-dev --format cyclonedx1.5

# Equal inputs give equal bytes (tests/deploy/test_builds.py). Each bill of materials is of what an installation from the lock file holds.
.PHONY: build
build: $(filter $(TOOLS)/bin/uv,$(UV)) ## Build the wheels and source distributions of all four distributions, each with its SBOM (CycloneDX)
	@$(UV) build --quiet --all-packages --out-dir $(DIST)
	@$(UV) build --quiet model_server --out-dir $(DIST)
	@$(UV) $(SBOM) --package mixed-accelerator-failover --output-file $(DIST)/mixed-accelerator-failover.cdx.json >/dev/null
	@$(UV) $(SBOM) --package mixed-accelerator-failover-setup --output-file $(DIST)/mixed-accelerator-failover-setup.cdx.json >/dev/null
	@$(UV) $(SBOM) --package mixed-accelerator-failover-proof --output-file $(DIST)/mixed-accelerator-failover-proof.cdx.json >/dev/null
	@$(UV) --project model_server $(SBOM) --output-file $(DIST)/failover-model-server.cdx.json >/dev/null

# The program that reads them as the package index does. It is no dependency of anything here.
.PHONY: check-build
check-build: $(filter $(TOOLS)/bin/uv,$(UV)) ## Check that a package index would take what `make build` made, and can render its descriptions
	@$(UV) tool run --quiet 'twine==6.2.0' check --strict $(DIST)/*.whl $(DIST)/*.tar.gz

.PHONY: publish
publish: $(filter $(TOOLS)/bin/uv,$(UV)) ## Upload what `make build` made to PyPI, as the workflow that PyPI trusts (docs/releasing.md)
	@$(UV) publish --trusted-publishing always $(DIST)/*.whl $(DIST)/*.tar.gz

.PHONY: clean
clean: ## Remove what the other targets made
	@rm -rf .venv model_server/.venv* $(TOOLS) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov
