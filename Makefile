# The tasks of this project. `make` alone lists them.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT   ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.linkedVersion=$(VERSION) -X main.linkedCommit=$(COMMIT)
BIN      := bin/dollr-relay
BENCH    ?= .
BENCHTIME ?= 2s

.DEFAULT_GOAL := help
.PHONY: help demo build release test fuzz sim sim-mutants lint vuln fmt generate bench bench-go soak soak-replicas setup clean

help: ## list these tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## run the whole system on this machine: shop, relay and stand-ins for Dollr and Supabase
	$(GO) run ./cmd/dollr-relay demo

build: ## build the static binary into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/dollr-relay

release: ## build all targets with checksums and bills of materials into dist/ (VERSION=v1.2.3; TARGETS="linux/amd64" for some)
	@scripts/release.sh $(VERSION)

test: ## check everything, installing what that needs (lint, tests with -race, browser tests, generated files)
	@scripts/test.sh

fuzz: ## fuzz every target for FUZZTIME each (2m), guided by coverage; FUZZ=realtime/ for some
	@FUZZ_GUIDED=$(or $(FUZZ_GUIDED),1) FUZZTIME=$(or $(FUZZTIME),2m) scripts/fuzz.sh

sim: ## play the simulator: SEED=N replays one with its history, SEEDS=N plays many (200,000)
	SIM_SEED=$(SEED) SIM_SEEDS=$(or $(SEEDS),200000) SIM_FIRST=$(or $(FIRST),1) \
		$(GO) test -count=1 -timeout=0 -run '^TestSeeds$$' -v ./internal/sim

sim-mutants: ## plant every known bug in turn and see that the simulator finds it (MUTANT=word for some)
	SIM_MUTANT="$(or $(MUTANT),all)" $(GO) test -count=1 -timeout=0 -run '^TestMutants' -v ./internal/sim

lint: ## run the linters and the format check, and look for known vulnerabilities if their database can be reached
	@scripts/setup.sh lint
	@scripts/golangci-lint.sh run ./...
	@scripts/vuln.sh if-reachable

vuln: ## look for known vulnerabilities in what is built in; fails if their database cannot be reached
	@scripts/vuln.sh

fmt: ## format the Go code
	@scripts/setup.sh lint
	@scripts/golangci-lint.sh fmt ./...

generate: ## rebuild the generated files that are committed
	$(GO) generate ./...

bench: ## measure every promise beside a floor and write docs/benchmarks.md (about ten minutes)
	$(GO) run ./internal/bench promises --write docs/benchmarks.md

bench-go: ## run the Go benchmarks of the parts (BENCH=regexp, BENCHTIME=2s)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./...

soak: ## run a relay with 5,000 pages and 200 payments a minute through trouble (FOR=10m SEED=1), then three relays for two minutes
	$(GO) run ./internal/bench soak --for $(or $(FOR),10m) --seed $(or $(SEED),1) --write docs/benchmarks.md
	$(MAKE) --no-print-directory soak-replicas FOR=$(or $(FOR_REPLICAS),2m)

soak-replicas: ## run three relays on one PostgreSQL with 300 payments, killed, paused and restarted (FOR=2m)
	SOAK=$(or $(FOR),2m) $(GO) test -count=1 -timeout=0 -run '^TestReplicas_chaos$$' -v ./cmd/dollr-relay

setup: ## install what the tests need: linter, Debian packages (Chromium, Node.js), npm packages
	@scripts/setup.sh all

clean: ## remove what was built
	rm -rf bin dist
