# The commands of this project. `make` lists them.

VERSION ?= dev
COMMIT ?= $(shell git rev-parse --short=8 HEAD 2>/dev/null || echo unknown)
# Goes before every image's name, e.g. registry.example.com:5000/
IMAGE_PREFIX ?=

# How long make soak-proxy takes
SOAK ?= 1h

OUT := build
# scripts/install-go puts Go there on a machine that has none.
export PATH := $(CURDIR)/$(OUT)/go/bin:$(PATH)
TOOLS := $(CURDIR)/$(OUT)/tools
IMAGES := interlock interlock-extension interlock-proxy interlock-proxy-native interlock-demo

MODULE := github.com/interlock-lb/interlock
LDFLAGS := -s -w -X $(MODULE)/internal/cli.version=$(VERSION) -X $(MODULE)/internal/cli.commit=$(COMMIT)
GO_BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$(LDFLAGS)"

GOLANGCI_LINT := $(TOOLS)/golangci-lint
GOLANGCI_LINT_VERSION := v2.15.0
GOFUMPT := $(TOOLS)/gofumpt
GOFUMPT_VERSION := v0.12.0
GOVULNCHECK := $(TOOLS)/govulncheck
GOVULNCHECK_VERSION := v1.9.0
# What the native proxy is compared with.
CADDY := $(TOOLS)/caddy
CADDY_VERSION := v2.11.9

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## Building

.PHONY: build
build: $(OUT)/interlock $(OUT)/interlock-demo ## build the binaries into build/

# Always asked for: go itself knows best what changed.
.PHONY: FORCE
# One build of both compiles what they share once.
$(OUT)/interlock $(OUT)/interlock-demo &: FORCE
	@$(GO_BUILD) -o $(OUT)/ ./cmd/interlock ./cmd/interlock-demo

$(OUT)/rootfs.tar: deploy/interlock-proxy/rootfs $(wildcard deploy/interlock-proxy/etc/*)
	@mkdir -p $(@D)
	@echo "fetching nginx from Debian's packages"
	@deploy/interlock-proxy/rootfs $@

$(OUT)/interlock.tar: $(OUT)/interlock
	@CGO_ENABLED=0 go run ./deploy/interlock-proxy/capable $< $@

$(OUT)/native-rootfs.tar: deploy/interlock-proxy-native/rootfs
	@mkdir -p $(@D)
	@deploy/interlock-proxy-native/rootfs $@

.PHONY: images
images: $(IMAGES:%=image-%) ## build the images, tagged VERSION (default dev), on the engine of DOCKER_HOST

.PHONY: $(IMAGES:%=image-%)
image-interlock image-interlock-extension: $(OUT)/interlock
# The two share a layer; built at the same time, each would get one of its own.
image-interlock-extension: | image-interlock
image-interlock-proxy-native: | image-interlock
image-interlock-proxy: $(OUT)/interlock.tar $(OUT)/rootfs.tar
image-interlock-proxy-native: $(OUT)/interlock $(OUT)/native-rootfs.tar
image-interlock-demo: $(OUT)/interlock-demo
$(IMAGES:%=image-%): image-%:
	@deploy/build-image $(IMAGE_PREFIX)$*:$(VERSION) deploy/$* $(filter $(OUT)/%,$^)

.PHONY: bundle
bundle: images $(OUT)/interlock ## save all images as build/interlock-VERSION.tar, for docker load
	@docker save -o $(OUT)/interlock-$(VERSION).tar $(IMAGES:%=$(IMAGE_PREFIX)%:$(VERSION))
	@echo "saved $(OUT)/interlock-$(VERSION).tar"

.PHONY: generate
generate: ## write the generated files anew
	go generate ./...

## Checking

.PHONY: test
test: ## install what the tests need, then run them all, the lab's included (root, Linux)
	@scripts/install-go
	@scripts/install-test-packages
	go vet ./...
	go test -race -count=1 -timeout 60m ./...

# A column of docs/reliability.md, native or nginx, one of its lines, and the form, full or short.
PROXY ?=
SCENARIO ?=
FORM ?= full

.PHONY: soak
soak: ## what a Swarm goes through while clients count, hours (root; SCENARIO=3, PROXY=native, FORM=short for less)
	@scripts/install-go
	@scripts/install-test-packages
	SOAK=$(FORM) SOAK_REPORT=$(CURDIR)/docs/reliability.md go test -count=1 -v -timeout 6h \
		-run 'TestSoak/^$(PROXY)/$(if $(SCENARIO),^$(SCENARIO)_)' ./test/soak

.PHONY: lint
lint: $(GOLANGCI_LINT) $(GOFUMPT) $(GOVULNCHECK) ## linters, formatting, module pins, known vulnerabilities
	$(GOLANGCI_LINT) run ./...
	@unformatted=$$($(GOFUMPT) -l .); [ -z "$$unformatted" ] || { echo "make fmt would change:" $$unformatted >&2; exit 1; }
	go mod verify
	go mod tidy -diff
	@scripts/check-vulnerabilities $(GOVULNCHECK)

.PHONY: fmt
fmt: $(GOFUMPT) ## format the Go files
	$(GOFUMPT) -w .

$(GOLANGCI_LINT):
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
$(GOFUMPT):
	GOBIN=$(TOOLS) go install mvdan.cc/gofumpt@$(GOFUMPT_VERSION)
$(GOVULNCHECK):
	GOBIN=$(TOOLS) go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)

$(CADDY):
	GOBIN=$(TOOLS) go install github.com/caddyserver/caddy/v2/cmd/caddy@$(CADDY_VERSION)

.PHONY: bench
bench: $(CADDY) ## measure the figures of bench/, in 40 minutes (BENCH=NAME for one, RECORD=1 to write them down)
	@scripts/install-test-packages
	go test -run '^$$' -bench '$(or $(BENCH),.)' -benchtime 1x -timeout 60m ./bench
	go test -run '^$$' -bench '$(or $(BENCH),.)' -benchtime 1x -timeout 60m ./bench/proxies $(if $(RECORD),-record)

.PHONY: soak-proxy
soak-proxy: ## an hour of the native proxy beside websockets and churn (SOAK=10m for less)
	go test -run TestNothingGrowsBesideWebsocketsAndChurn -v -timeout 24h ./internal/proxy -soak $(SOAK)

## Trying out

.PHONY: demo
demo: ## run Interlock and a demo app on this machine (root; DEMO_PORT=8080 for another port, PROXY=nginx for nginx)
	@VERSION=$(VERSION) IMAGE_PREFIX=$(IMAGE_PREFIX) scripts/demo up

.PHONY: demo-down
demo-down: ## remove what make demo made
	@scripts/demo down

.PHONY: lab-up
lab-up: ## start the eight-node Swarm of the tests and leave it running (root)
	go run ./test/lab/cmd/lab up

.PHONY: lab-down
lab-down: ## stop it
	go run ./test/lab/cmd/lab down

.PHONY: clean
clean: ## remove build/, except for the tools and Go
	find $(OUT) -mindepth 1 -maxdepth 1 ! -name tools ! -name go -exec rm -rf {} +
