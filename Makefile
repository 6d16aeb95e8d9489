# The front door. On a fresh Debian or Ubuntu machine, as root or with sudo:
#
#   make demo    install what is missing, build, train DiffiT on Fashion-MNIST, sample, write runs/demo/
#   make test    install what is missing, build, run the tests and each fuzzer for a moment
#   make bundle  shardit, what checks it on GPUs, their libraries and mpirun in build-bundle/bundle, to be copied to a
#                machine with a GPU and run there; BUNDLED="FILES" adds golden files, and Fashion-MNIST for the demo
#   make bench   shardit beside PyTorch on this machine's cores, in turn; writes the CPU part of docs/results.md. Needs
#                python3-torch and libopenblas0, which it does not install; BENCH_FLAGS="--turns 1"
#                (tests/bench/compare.py --help)
#   make fuzz    every parser of files on hostile bytes, FUZZ_SECONDS=60 each; what is found stays in build-fuzz
#   make soak    the long matrices: ranks, stages, restarts, delays, kills; about 13 minutes on two cores, and then an hour
#                of fuzzing
#
# JOBS=4 sets how much runs at once; CMAKE_FLAGS=-DSHARDIT_MARCH=x86-64-v3 builds for other CPUs than this one,
# CMAKE_FLAGS=-DSHARDIT_CUDA_ARCHITECTURES=80 for other GPUs than Hopper's.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.PHONY: install build test bench fuzz soak demo sanitize sanitize-asan sanitize-tsan bundle clean

JOBS ?= $(shell env -u OMP_NUM_THREADS nproc)
CMAKE_FLAGS ?=
BUNDLED ?=
BENCH_FLAGS ?=
FUZZ_SECONDS ?= 60

PACKAGES := build-essential cmake ninja-build ccache libdnnl-dev libopenmpi-dev openmpi-bin libprotobuf-dev \
  protobuf-compiler libgoogle-glog-dev libgtest-dev libcli11-dev nlohmann-json3-dev libpng-dev libjpeg-dev libarchive-dev \
  zlib1g-dev libisal-dev libxxhash-dev libboost-context-dev python3 dataset-fashion-mnist
FUZZ_PACKAGES := clang libclang-rt-dev
test fuzz soak: PACKAGES += $(FUZZ_PACKAGES)

# $(call step,what it does,commands): says what it does, and afterwards how long it took or that it failed.
define step
	@echo "== $(1)"; start=$$(date +%s%N); code=0; ( $(2) ) || code=$$?; \
	ms=$$(( ($$(date +%s%N) - start) / 1000000 )); \
	if [ $$code -eq 0 ]; then word=done; else word="FAILED with code $$code"; fi; \
	printf '== %s: %s after %d.%03d s\n' "$(1)" "$$word" $$((ms / 1000)) $$((ms % 1000)); exit $$code
endef

# dpkg answers at once when everything is there, so that a second call costs nothing and needs neither root nor network.
define install_missing
missing=""; for package in $(PACKAGES); do \
  dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || \
    missing="$$missing $$package"; done; \
if [ -n "$$missing" ]; then \
  echo "missing:$$missing"; sudo=""; [ $$(id -u) -eq 0 ] || sudo="sudo"; \
  $$sudo apt-get update -qq && \
  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; fi
endef

# $(call configure_and_build,folder,cmake flags,targets; all if none is named,sources; here if not named)
define configure_and_build
mkdir -p $(1); \
cmake -S $(or $(4),.) -B $(1) -G Ninja $(2) $(CMAKE_FLAGS) >$(1)/configure.log 2>&1 || { cat $(1)/configure.log; exit 1; }; \
ninja -C $(1) -j $(JOBS) $(3)
endef
# libFuzzer is clang's, so the fuzzers have a folder and a compiler of their own.
build_fuzzers = $(call configure_and_build,build-fuzz,-DCMAKE_CXX_COMPILER=clang++,,tests/fuzz)

install:
	$(call step,install what is missing,$(install_missing))

build: install
	$(call step,build,$(call configure_and_build,build,,shardit judge_samples))

test: install
	$(call step,build with the tests,$(call configure_and_build,build,))
	$(call step,run the tests,cd build && ctest -j $(JOBS) --output-on-failure)
	$(call step,build the fuzzers,$(build_fuzzers))
	$(call step,run each fuzzer for a moment,python3 tests/fuzz/fuzz.py --runs 5000 --jobs $(JOBS))
	@echo "all tests passed"

bench: build
	$(call step,compare with PyTorch,rm -f build/bench.jsonl; python3 tests/bench/compare.py $(BENCH_FLAGS))

fuzz: install
	$(call step,build the fuzzers,$(build_fuzzers))
	$(call step,run each fuzzer for $(FUZZ_SECONDS) s,\
	  python3 tests/fuzz/fuzz.py --seconds $(FUZZ_SECONDS) --jobs $(JOBS))

soak: install
	$(call step,build with the tests,$(call configure_and_build,build,))
	$(call step,build the fuzzers,$(build_fuzzers))
	$(call step,run the long matrices,python3 tests/soak/soak.py)

# Two ranks of one thread, whatever the machine; the bits are those of any other number.
RANKS := mpirun --allow-run-as-root --oversubscribe --bind-to none -np 2
demo: export OMP_NUM_THREADS = 1
demo: build
	$(call step,train DiffiT on Fashion-MNIST on 2 ranks at ZeRO stage 2,\
	  $(RANKS) ./build/shardit train configs/demo.textproto --set parallel.zero_stage=2 --run-dir runs/demo)
	$(call step,draw 1000 samples,$(RANKS) ./build/shardit sample runs/demo --num 1000 \
	  --out runs/demo/samples.png --npz runs/demo/samples.npz)
	$(call step,judge the samples,./build/judge_samples runs/demo/samples.npz)
	$(call step,write the report,./build/shardit report runs/demo)
	@echo "look at runs/demo/samples.png and runs/demo/report.html"

# Address and undefined-behaviour sanitizers over all tests; the thread sanitizer over the tests that use threads
# (OpenMP's runtime is not instrumented, and only tests of our own threads are free of its false alarms).
# Without nvcc: device kernels run under the sanitizers as the host compiler makes them.
THREAD_PROGRAMS := core_tests data_tests dist_tests launcher_tests step_tests
THREAD_TESTS ?= ^(Pool|Loader|ImageDataset|Signals|CallLog|ThreadWorld|Watchdog|Worlds|WireThread|Ranks|Agreement)
sanitize: sanitize-asan sanitize-tsan
	@echo "no sanitizer complained"
sanitize-asan: export UBSAN_OPTIONS = halt_on_error=1:print_stacktrace=1
sanitize-asan: install
	$(call step,build with the address and undefined sanitizers,\
	  $(call configure_and_build,build-asan,-DSHARDIT_CUDA=OFF -DSHARDIT_SANITIZE=address$(,)undefined))
	$(call step,run the tests under them,cd build-asan && ctest -j 2 --output-on-failure)
sanitize-tsan: export TSAN_OPTIONS = halt_on_error=1:suppressions=$(CURDIR)/tests/tsan.supp
sanitize-tsan: install
	$(call step,build with the thread sanitizer,\
	  $(call configure_and_build,build-tsan,-DSHARDIT_CUDA=OFF -DSHARDIT_SANITIZE=thread,$(THREAD_PROGRAMS)))
	$(call step,run the tests of threads under it,\
	  cd build-tsan && ctest -j 2 --output-on-failure -R '$(THREAD_TESTS)')

# For other machines than this one, so without the instructions that only this one may have, and for all kinds of GPU.
GPUS := "-DSHARDIT_CUDA_ARCHITECTURES=80-real;90-real;100"
bundle: install
	$(call step,build for other machines,\
	  $(call configure_and_build,build-bundle,-DSHARDIT_CUDA=ON -DSHARDIT_MARCH=x86-64-v3 $(GPUS),\
  shardit gpu_sweep nccl_check attention_bench))
	$(call step,collect the libraries,tests/gpu/bundle.sh build-bundle build-bundle/bundle $(BUNDLED))

clean:
	$(call step,remove what was built,rm -rf build build-asan build-tsan build-bundle build-fuzz)

, := ,
