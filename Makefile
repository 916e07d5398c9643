# Every target says what it does in `make help`.

SHELL := /bin/bash
.DEFAULT_GOAL := help

CARGO ?= cargo
# Which chapters `make demo` tells.
CHAPTER ?= order
# What nodes it is told on: simulated, or a real one (root, Debian, with what `make e2e-deps` installs).
NODE ?= simulated
# Arguments passed on to the program, as in: make up ARGS="--nodes 5"
ARGS ?=
KORDER := target/debug/korder
# The names by which kubectl finds the program as its plugins.
PLUGINS := kubectl-korder kubectl-create-order kubectl_complete-create-order
# Only the last step of a build differs for a program that needs no library: what it is made of is compiled once.
STATIC := -- -C target-feature=+crt-static
VERSION := $(shell awk -F'"' '/^version/ { print $$2; exit }' Cargo.toml)
# What `make images` writes, and where.
IMAGE ?= korder:$(VERSION)
ARCHIVE ?= $(CURDIR)/target/images/korder.tar

.PHONY: help build test test-e2e test-matrix e2e-deps images release soak simulate mutants bench bench-demand lint chart lint-deploy fmt generate manifests install deploy undeploy uninstall run up down demo

help: ## Show this help
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the programs
	$(CARGO) rustc -p korder --bin korder $(STATIC)
	@for name in $(PLUGINS); do ln -sf korder target/debug/$$name; done

test: build ## Run every test but those that take over two minutes
	cd kubernetes/support && CGO_ENABLED=0 GOFLAGS=-trimpath go test ./...
	$(CARGO) test --workspace --exclude e2e
	$(CARGO) test -p e2e

test-e2e: build ## Run the end-to-end suite on $KUBECONFIG where it is set, else on simulated nodes and then on a real one
	$(CARGO) test -p e2e --test suite
	@# As root, with what `make e2e-deps` installs.
	[[ -n "$$KUBECONFIG" ]] || KORDER_E2E_NODES=real $(CARGO) test -p e2e --test suite

test-matrix: build ## The same on each version of Kubernetes: 1.34, 1.35 and 1.36
	for version in 1.34 1.35 1.36; do KUBERNETES_VERSION=$$version $(MAKE) test-e2e || exit 1; done

e2e-deps: ## Install what a real node needs of the distribution (root, Debian)
	scripts/e2e-deps

images: ## Write the image as an archive into target/images (IMAGE=korder:VERSION)
	$(CARGO) rustc --locked --release -p korder --bin korder $(STATIC)
	@mkdir -p $(dir $(ARCHIVE))
	cd kubernetes/support && CGO_ENABLED=0 GOFLAGS=-trimpath go run ./images -output $(ARCHIVE) -name $(IMAGE) \
		-file $(CURDIR)/target/release/korder=/korder -entrypoint /korder

release: ## Make all files of a release into target/release-VERSION (VERSION=, REGISTRY=ghcr.io/example)
	scripts/release $(VERSION) $(REGISTRY)

soak: build ## Run the long tests: mixed load, faults during 500 claims each, 1,000 hand-overs under theft, 5,000 histories, all pairs of crashes
	$(CARGO) build -p e2e --bins
	target/debug/soak
	KORDER_E2E_CLAIMS=500 $(CARGO) test -p e2e --test suite -- under_load --test-threads=1
	KORDER_E2E_HANDOVERS=1000 $(CARGO) test -p e2e --test suite -- theft
	$(CARGO) run --quiet --release -p korder-simulator -- --histories 5000 --pairs

simulate: ## Run the controllers in the simulator, with every crash point of a claim
	$(CARGO) run --quiet -p korder-simulator

mutants: ## Leave out one rule after the other, and see that a test notices each
	mutants/run.sh

bench: ## Measure, and write docs/benchmarks.md and docs/level.md; parts of the first with ARGS="claims scale"
	$(CARGO) build --release -p korder
	$(CARGO) run --quiet --release -p e2e --bin bench -- $(ARGS)
	@# Parts are only printed.
	$(if $(ARGS),,$(MAKE) bench-demand)

bench-demand: ## Play three days of orders with levels fitted to them, and write docs/level.md (part of `make bench`)
	$(CARGO) run --quiet --release -p korder-simulator --bin demand

lint: ## Check format, lints, documentation and that what is generated is fresh
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	@# With the flags of the build, or all of Kubernetes is compiled once more.
	cd kubernetes && test -z "$$(gofmt -l .)" && CGO_ENABLED=0 GOFLAGS=-trimpath go vet ./...
	cd kubernetes/support && CGO_ENABLED=0 GOFLAGS=-trimpath go vet ./...

chart: build ## Write the Helm chart into target/chart
	$(KORDER) chart target/chart

lint-deploy: chart ## Judge the manifests by kube-score and the chart by Helm, which are built the first time
	scripts/kube-score deploy/install.yaml
	scripts/helm lint --strict --namespace korder-system target/chart
	scripts/helm template korder target/chart --namespace korder-system > /dev/null

fmt: ## Format the sources
	$(CARGO) fmt --all
	cd kubernetes && gofmt -w .

generate manifests: build ## Write deploy/install.yaml
	$(KORDER) install --dry-run --output yaml > deploy/install.yaml

install: build ## Install the kinds on the current cluster
	$(KORDER) crds | kubectl apply --server-side -f -

deploy: build ## Install korder on the current cluster
	$(KORDER) install

undeploy uninstall: build ## Remove korder from the current cluster
	$(KORDER) uninstall

run: build ## Run the controllers here, against the current cluster, in the account that they have there
	$(KORDER) controller --leader-elect --as system:serviceaccount:korder-system:korder-controller-manager

up: build ## Start an embedded Kubernetes with korder on it
	$(KORDER) up $(ARGS)

down: build ## Stop the embedded Kubernetes
	$(KORDER) down $(ARGS)

demo: build ## Tell the stories on temporary clusters (CHAPTER=order|kepot|all, NODE=simulated|real)
ifeq ($(NODE),real)
	@# The documents' pods pull nginx:latest, and the jobs of the examples busybox:latest.
	scripts/nginx-image target/images/nginx.tar
	scripts/busybox-image target/images/busybox.tar
	$(CARGO) run --quiet -p e2e --bin demo -- --chapter $(CHAPTER) --real-node target/images/nginx.tar \
		--real-node target/images/busybox.tar
else
	$(CARGO) run --quiet -p e2e --bin demo -- --chapter $(CHAPTER)
endif
