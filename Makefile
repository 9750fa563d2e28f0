# What can be done here; every target first installs the system packages it misses (and says so).
#
#   make demo                          boot a machine from nothing; FIRMWARE=bios|uefi|uefi-http NODES=n
#   make test                          every test, boots included
#   make bench                         our figures beside the peers'; BENCH_JSON=FILE writes them there too,
#                                      BENCH_ONLY=dhcp|tftp|unpack|capsule|boot measures one part
#   make fuzz                          every fuzzer for FUZZ_SECONDS (60) each
#   make build lint install deb clean

SWIFT ?= swift
VERSION ?= 0.1.0
DESTDIR ?=
PREFIX ?= /usr

LAB := Tests/Lab
# What is made once and kept: Debian root file systems, capsules.
PERSEID_CACHE ?= $(CURDIR)/.build/lab
RELEASE := .build/release
PRIVATELY := $(LAB)/in-private-namespaces

export PERSEID_CACHE FIRMWARE NODES BENCH_JSON BENCH_ONLY BENCH_ROUNDS

.PHONY: all build demo test bench fuzz lint install deb clean
.PHONY: packages-build packages-test packages-bench tftp-peers tree-bookworm tree-trixie tree-services init-trees

all: build

build: packages-build
	$(SWIFT) build -c release --product perseid
	$(SWIFT) build -c release --product perseid-node

demo: packages-build packages-test tree-bookworm build
	$(SWIFT) build -c release --product perseid-demo
	$(PRIVATELY) $(RELEASE)/perseid-demo

# Other people's clients come after our own tests, which leave packets behind for ports that a client may get, and
# the boots come last: emulated machines keep all processors busy. Of our own few run at a time, so that none waits for
# a processor for longer than its bounds allow.
RUN_TESTS := $(PRIVATELY) $(SWIFT) test -c release --skip-build --disable-xctest

test: export PERSEID_TESTING = 1
test: packages-build packages-test tree-bookworm tree-trixie tree-services init-trees
	$(SWIFT) build -c release --build-tests
	$(RUN_TESTS) --experimental-maximum-parallelization-width 4 --skip '^(InteropTests|BootTests)\.'
	$(RUN_TESTS) --filter '^InteropTests\.'
	$(RUN_TESTS) --filter '^BootTests\.'

bench: packages-build packages-test packages-bench tftp-peers tree-bookworm build
	$(SWIFT) build -c release --product perseid-bench
	$(PRIVATELY) $(RELEASE)/perseid-bench

FUZZ_SECONDS ?= 60

fuzz: packages-build
	Tests/Fuzz/run $(FUZZ_SECONDS)

lint:
	$(SWIFT) format lint --strict --recursive --parallel --configuration .swift-format \
	  Package.swift Sources Tests Benchmarks

# Installed programs run where no Swift is: its libraries are linked in.
PACKAGED := .build/package
INSTALLED := $(PACKAGED)/release

$(PACKAGED)/.built: packages-build
	$(SWIFT) build -c release --static-swift-stdlib --scratch-path $(PACKAGED) --product perseid
	$(SWIFT) build -c release --static-swift-stdlib --scratch-path $(PACKAGED) --product perseid-node
	touch $@

install: $(PACKAGED)/.built
	install -D -m 755 -s $(INSTALLED)/perseid $(DESTDIR)$(PREFIX)/bin/perseid
	install -D -m 755 $(INSTALLED)/perseid-node $(DESTDIR)$(PREFIX)/lib/perseid/perseid-node
	install -D -m 644 etc/perseid.yaml $(DESTDIR)$(PREFIX)/share/perseid/perseid.yaml
	install -d $(DESTDIR)$(PREFIX)/share/perseid/modules
	cp -R etc/modules/. $(DESTDIR)$(PREFIX)/share/perseid/modules
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed -e 's|/usr/|$(PREFIX)/|' etc/perseid.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/perseid.service
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions \
	  $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(INSTALLED)/perseid --generate-completion-script bash \
	  > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/perseid
	$(INSTALLED)/perseid --generate-completion-script zsh > $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_perseid
	$(INSTALLED)/perseid --generate-completion-script fish \
	  > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/perseid.fish
	install -D -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/perseid/copyright

STAGE := .build/deb/perseid_$(VERSION)_amd64

deb:
	rm -rf $(STAGE)
	$(MAKE) install DESTDIR=$(CURDIR)/$(STAGE) PREFIX=/usr
	install -d $(STAGE)/DEBIAN
	sed -e 's/@VERSION@/$(VERSION)/' etc/debian-control > $(STAGE)/DEBIAN/control
	dpkg-deb --root-owner-group --build $(STAGE) .build/deb

clean:
	rm -rf .build

packages-build:
	@$(LAB)/install-packages build run

packages-test:
	@$(LAB)/install-packages run test

packages-bench:
	@$(LAB)/install-packages bench

# Two packages that cannot both be installed.
tftp-peers: packages-bench
	@$(LAB)/unpack-packages $(PERSEID_CACHE)/tftp-peers tftpd-hpa atftpd

# Outside the private namespaces, where the mirror can be reached.
tree-bookworm: packages-test
	@$(LAB)/debian-tree bookworm $(PERSEID_CACHE)/bookworm.tar

tree-trixie: packages-test
	@$(LAB)/debian-tree trixie $(PERSEID_CACHE)/trixie.tar

tree-services: tree-bookworm
	@$(LAB)/service-tree $(PERSEID_CACHE)/services.tar $(PERSEID_CACHE)/bookworm.tar

init-trees: $(foreach init,sysvinit openrc runit busybox busybox-rcs rc-local generic,init-tree-$(init))

# It has a kernel of its own.
init-tree-generic: packages-test
	@$(LAB)/init-tree generic $(PERSEID_CACHE)/generic.tar

init-tree-%: tree-bookworm
	@$(LAB)/init-tree $* $(PERSEID_CACHE)/$*.tar $(PERSEID_CACHE)/bookworm.tar
