# Thin front of the Meson build. `make help` lists the targets.
BUILD      ?= build
BUILD_ASAN ?= build-asan
BUILD_FUZZ ?= build-fuzz
PREFIX     ?= /usr/local
FUZZ_TIME  ?= 60
NINJA      ?= ninja
MESON      ?= meson

.PHONY: all help setup test test-full demo bench asan fuzz lint format install clean

all: $(BUILD)/build.ninja ## build the library and the tool
	$(NINJA) -C $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 12

setup: ## install what is missing (apt, Debian 12)
	@tools/setup.sh

$(BUILD)/build.ninja:
	$(MESON) setup $(BUILD) --prefix=$(PREFIX)

test: setup ## install what is missing, build, run the tests
	@tools/setup.sh web || echo "test: going on without the tests of the report page in a browser" >&2
	@$(MAKE) --no-print-directory all
	$(MESON) test -C $(BUILD) --print-errorlogs

test-full: setup ## published sizes through the tool: up to an hour, 12 GB of memory, 9 GB of disk
	@$(MAKE) --no-print-directory all
	ALEAT_TEST_FULL=$${ALEAT_TEST_FULL:-1} $(MESON) test -C $(BUILD) --no-rebuild --print-errorlogs --timeout-multiplier 10 \
	  full_size networks text_networks text_encoder

demo: setup ## install what is missing, build, generate with the model in the repository
	@$(MAKE) --no-print-directory all
	@tools/demo.sh $(BUILD)/src/cli/aleat

bench: ## speed of a model, beside ONNX Runtime (if npm has it), and of convolutions beside oneDNN
	@tools/setup.sh bench
	@$(MAKE) --no-print-directory all
	$(BUILD)/src/cli/aleat bench models/fashion
	bench/compare.sh
	$(NINJA) -C $(BUILD) bench/bench_onednn
	$(BUILD)/bench/bench_onednn 9 2

asan: setup ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@test -f $(BUILD_ASAN)/build.ninja || \
	  $(MESON) setup $(BUILD_ASAN) -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1
	$(NINJA) -C $(BUILD_ASAN)
	$(MESON) test -C $(BUILD_ASAN) --print-errorlogs --timeout-multiplier 5

fuzz: ## every file reader on hostile input, FUZZ_TIME seconds each
	@tools/setup.sh fuzz
	@tools/fuzz.sh $(BUILD_FUZZ) $(FUZZ_TIME)

lint: ## layers, formatting, clang-tidy
	@tools/setup.sh lint
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@tools/lint.sh $(BUILD)

format: ## clang-format every source file
	@tools/setup.sh lint
	git ls-files '*.c' '*.h' | xargs clang-format -i

install: all ## install library, headers, tool, man page and completion under PREFIX
	$(MESON) install -C $(BUILD) --no-rebuild

clean: ## remove what was built
	rm -rf $(BUILD) $(BUILD_ASAN) $(BUILD_FUZZ)
