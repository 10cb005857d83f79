# The targets: build · test · demo · vm · bench · lint · install · clean. Everything that a fresh Debian 12 with Go and root
# lacks is installed by scripts/deps, which prints what.

BIN     ?= $(CURDIR)/bin
PREFIX  ?= /usr/local
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

version := github.com/berth-engine/berth/lib/version
facts   := -X $(version).Version=$(VERSION) -X $(version).Commit=$(shell git rev-parse --short HEAD 2>/dev/null || echo unknown) \
           -X $(version).Built=$(shell date -u +%Y-%m-%dT%H:%M:%SZ) \
           -X github.com/moby/buildkit/version.Version=$(shell go list -m -f '{{.Version}}' github.com/moby/buildkit)
# The shim needs cgo, for libcontainer and libseccomp, and is static; nothing else may need it.
shimtags := seccomp netgo osusergo
shimonly := ./shim/... ./cmd/berth-shim
programs := berth berthd berth-build berth-log

.PHONY: build test demo vm bench lint install clean modules

build: modules
	@scripts/deps build
	@mkdir -p $(BIN)
	@echo "build: $(programs) into $(BIN)"
	@CGO_ENABLED=0 go build -ldflags '-s -w $(facts)' -o $(BIN)/ $(programs:%=./cmd/%)
	@echo "build: berth-shim into $(BIN)"
	@CGO_ENABLED=1 go build -tags '$(shimtags)' -ldflags '-s -w -linkmode external -extldflags -static $(facts)' -o $(BIN)/ ./cmd/berth-shim

# Downloads and the first compilation take minutes; say so while they do.
modules:
	@test -d "$$(go env GOMODCACHE)/cache/download/github.com/moby" || echo "build: the first time, modules are downloaded and compiled: this takes minutes"
	@go mod download

# What is tested are programs, which the cache of go test knows nothing of: -count=1.
test: build
	@scripts/deps test
	@echo "test: vet"
	@CGO_ENABLED=0 go vet $$(go list ./... | grep -v -e /shim -e /cmd/berth-shim)
	@CGO_ENABLED=1 go vet -tags '$(shimtags)' $(shimonly)
	@echo "test: all but the shim"
	@BERTH_BIN=$(BIN) BERTH_SHIM=$(BIN)/berth-shim CGO_ENABLED=0 go test -count=1 -timeout 20m $$(go list ./... | grep -v -e /shim -e /cmd/berth-shim)
	@echo "test: the shim"
	@BERTH_BIN=$(BIN) CGO_ENABLED=1 go test -count=1 -tags '$(shimtags)' $(shimonly)
	@rmdir /sys/fs/cgroup/berth /sys/fs/cgroup/*/berth 2>/dev/null || true # daemons share it, so none of them removes it

demo:
	@scripts/demo

# Berth on a machine with cgroup v2 only; not a part of test, since the machine's processor is emulated.
vm: build
	@BIN=$(BIN) test/vm/run cgroup2
	@BIN=$(BIN) test/vm/run selinux
	@BIN=$(BIN) test/vm/run drivers

bench: build
	@CGO_ENABLED=0 go build -o $(BIN)/berth-bench ./bench
	@PATH=$(BIN):$$PATH $(BIN)/berth-bench $(BENCH)

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not formatted:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	@CGO_ENABLED=0 go vet $$(go list ./... | grep -v -e /shim -e /cmd/berth-shim)
	@CGO_ENABLED=0 go test .

install: build
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(programs:%=$(BIN)/%) $(BIN)/berth-shim $(DESTDIR)$(PREFIX)/bin/
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's#/usr/local/bin#$(PREFIX)/bin#' scripts/berth.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/berth.service

clean:
	rm -rf $(BIN) .demo .vm
