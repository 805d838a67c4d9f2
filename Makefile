# make demo    install what is missing, build, and run the demonstration
# make demo-deep   the same for networks that need bootstrapping: minutes, and 16 GB of memory
# make test    install what is missing, build, and run every check and test
# make build   build the tools in release mode
# make docs    regenerate the reference pages under docs/

LLVM := $(or $(MLIR_SYS_220_PREFIX),/usr/lib/llvm-22)
CARGO := cargo
CXX_SOURCES := $(wildcard dialects/bridge/*.cpp dialects/bridge/*.h)

.PHONY: all setup setup-test build demo demo-deep test format lint unit doctest debug lit docs docs-check clean

all: build

setup:
	@.ci/setup.sh

setup-test:
	@.ci/setup.sh test

build: setup
	$(CARGO) build --release --workspace

demo-deep: build
	target/release/ceria demo --deep --digits 2

demo: build
	target/release/ceria demo

# The order puts what fails fast first; one failure stops the rest.
test: setup-test
	@$(MAKE) --no-print-directory format
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory doctest
	@$(MAKE) --no-print-directory lit
	@$(MAKE) --no-print-directory docs-check

format:
	$(CARGO) fmt --all --check
	$(LLVM)/bin/clang-format --dry-run --Werror $(CXX_SOURCES)

lint:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

unit:
	$(CARGO) nextest run --workspace

# Doc tests are linked without the run path that build scripts give to other targets.
doctest:
	LD_LIBRARY_PATH=$(LLVM)/lib $(CARGO) test --workspace --doc

debug:
	$(CARGO) build --workspace --all-targets

lit: debug
	$(LLVM)/bin/lit -sv --order=lexical test

docs: debug
	docs/generate.sh

docs-check: debug
	docs/generate.sh --check

clean:
	$(CARGO) clean
