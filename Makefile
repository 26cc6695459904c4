# connbench: `make bench` measures, `make test` tests, `make help` lists the rest.

.DEFAULT_GOAL := help
.PHONY: help build programs bench bench-check test test-quick conform report docs publish clean vagrant-up vagrant-box vagrant-destroy test-vagrant test-kubernetes test-slurm

# What `make bench` and `make bench-check` hand to `bin/connbench`, under the same names.
BENCH_FLAGS = $(foreach name,PLAN LAB ENGINE VARIANTS CONNECTIONS BUDGET ROUNDS PROCESSES BASE GO RESULTS,\
	$(if $($(name)),--$(shell echo $(name) | tr A-Z a-z) '$($(name))'))

# The revision goes into each run's manifest. In a checkout that belongs to somebody else
# git gives none, and a build that asks for it fails.
REVISION = $(shell git rev-parse --verify HEAD 2>/dev/null)

# Where `make programs` puts connbench's own programs.
BIN = bin

# Without C, what is built brings all its libraries along, to whichever host.
GO_BUILD = CGO_ENABLED=0 go build -trimpath -buildvcs=$(if $(REVISION),true,false)

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'make bench takes PLAN= LAB= ENGINE= VARIANTS= CONNECTIONS= BUDGET= ROUNDS= PROCESSES= BASE= GO= RESULTS=,'
	@echo 'as bin/connbench bench --help explains them; bin/connbench lab list has the labs.'

build: programs ## build connbench, its agent, the swarm and every server into bin/, and put the servers through the gate
	@bin/connbench build

# connbench's own programs alone.
programs:
	@command -v go >/dev/null || { echo 'go is missing: install Go 1.26 or newer' >&2; exit 1; }
	@mkdir -p '$(BIN)'
	@[ -n '$(REVISION)' ] || echo 'connbench is built without a revision: git gives none for $(CURDIR)' >&2
	$(GO_BUILD) -o '$(BIN)/connbench' ./harness/connbench
	$(GO_BUILD) -o '$(BIN)/connbench-agent' ./harness/agent/connbench-agent
	$(GO_BUILD) -o '$(BIN)/swarm' ./clients/swarm

bench: programs $(if $(filter vagrant,$(LAB)),vagrant-up) ## run a plan (PLAN=, see bin/connbench plans) and print its tables
	@bin/connbench bench $(BENCH_FLAGS)

bench-check: programs ## run plan check and fail where servers are worse than those of the git revision BASE=, or than the last published run of this machine
	@bin/connbench bench-check $(BENCH_FLAGS)

conform: programs ## put every server through the conformance gate and print the table
	@bin/connbench conform

report: programs ## write the tables of RUN= anew from its raw files
	@bin/connbench report $(RUN)

# Tests wait for half of their time, so there are more of them at a time than CPUs.
TESTS_AT_ONCE = $(shell expr $$(nproc) + 2)

# What is published is checked by the command for it: the race detector would take minutes.
test: programs ## run all tests, with the race detector, and check the published runs
	@command -v "$$(go env CC | cut -d ' ' -f 1)" >/dev/null || { echo 'make test: the race detector needs a C compiler' >&2; \
		echo 'hint: install gcc and libc6-dev, or run scripts/setup.sh tests as root for all that tests use' >&2; exit 1; }
	go vet ./...
	@bin/connbench publish --check >&2
	GORACE="atexit_sleep_ms=0 $$GORACE" go test -race -timeout 40m -p $(TESTS_AT_ONCE) -parallel $(TESTS_AT_ONCE) $(TEST_FLAGS) ./...

test-quick: ## run the tests that take no root, no lab and no server process
	go test -short ./...

docs: ## regenerate the documentation that comes from the code
	go test -p 1 ./harness/reference ./harness/cause ./harness/overview ./harness/publish -update

publish: programs ## check RUN=, move it into results/ and update the index
	@bin/connbench publish '$(RUN)'
	@git add -f results/'$(notdir $(RUN))' results/README.md

vagrant-up: ## make and start the VMs of LAB=vagrant (vagrant/settings.toml, or CLIENTS= SERVER_MEMORY= and so on)
	@command -v vagrant >/dev/null || { echo 'make vagrant-up: vagrant is missing: run scripts/setup.sh vagrant, as root' >&2; exit 1; }
	@VAGRANT_CWD='$(CURDIR)/vagrant' vagrant up $$([ -t 1 ] || echo --no-tty) >&2

vagrant-box: vagrant/box/debian12.box ## build an offline box for BOX=connbench-debian12 (needs root)

vagrant/box/debian12.box: vagrant/box.sh
	vagrant/box.sh $@

vagrant-destroy: ## remove the VMs and every trace of them, and with REMOVE_BOX=1 the offline box
	@vagrant/destroy.sh $(if $(REMOVE_BOX),box)

test-vagrant: ## bring up emulated VMs from the offline box, measure on them, destroy them
	@scripts/setup.sh vagrant --check
	@$(MAKE) --no-print-directory programs vagrant-box
	@vagrant/test.sh

test-kubernetes: ## build a Kubernetes cluster unless it is built, measure on its pods, remove it (needs root)
	@scripts/setup.sh kubernetes --check
	@$(MAKE) --no-print-directory programs
	@harness/lab/kubernetes/cluster/test.sh

test-slurm: ## start a Slurm cluster of network namespaces and measure on it (needs root)
	@scripts/setup.sh slurm --check
	@harness/lab/slurm/test.sh

clean: ## remove what was built
	rm -rf bin
