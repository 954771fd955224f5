# mlenvfs: GNU make, out-of-tree objects under build/<flavour>/.
#   make            the program             make SAN=address|thread   a sanitizer flavour
#   make run/stop   the tour in ./mnt       make test                 unit and integration tests
#   make check      format and static analysis
#   make bench      measure it beside ext4, tmpfs and its peers

CC       ?= cc
PREFIX   ?= /usr/local
BINDIR   ?= $(PREFIX)/bin
SBINDIR  ?= $(PREFIX)/sbin
MANDIR   ?= $(PREFIX)/share/man
DESTDIR  ?=
WERROR   ?= -Werror
PYTHON   ?= /usr/bin/python3
SAN      ?=
V        ?=

VERSION  := 0.1.0
PKGS     := fuse3 libcurl libcjson yaml-0.1 libcrypto sqlite3 libmicrohttpd gnutls expat

FLAVOUR  := $(if $(SAN),$(SAN),release)
B        := build/$(FLAVOUR)
Q        := $(if $(V),,@)

SAN_address := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SAN_thread  := -fsanitize=thread -fno-omit-frame-pointer
ifneq ($(SAN),)
ifeq ($(SAN_$(SAN)),)
$(error SAN must be "address" or "thread", not "$(SAN)")
endif
OPT      := -O1 -g1 $(SAN_$(SAN))
else
OPT      := -O2 -g -D_FORTIFY_SOURCE=2
endif

WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
            -Wconversion -Wno-sign-conversion -Wundef -Wpointer-arith $(WERROR)
HARDEN   := -fPIE -fstack-protector-strong
LDHARDEN := -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack

# Only the goals that compile ask pkg-config, so that `make stop` works on a machine without the libraries.
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS))
PKG_LIBS   = $(shell pkg-config --libs $(PKGS))

ALL_CPPFLAGS = -D_GNU_SOURCE -DFUSE_USE_VERSION=314 -DMLENVFS_VERSION='"$(VERSION)"' -I. $(CPPFLAGS)
ALL_CFLAGS   = -std=c17 $(OPT) $(WARN) $(HARDEN) -pthread $(PKG_CFLAGS) $(CFLAGS)
ALL_LDFLAGS  = $(OPT) $(LDHARDEN) -pthread $(LDFLAGS)
# There are a hundred and more programs of tests to link: with a faster linker where there is one.
TEST_LDFLAGS := $(shell ld.gold --version >/dev/null 2>&1 && echo -fuse-ld=gold)

DIRS     := client cache fs emulator
SRCS     := $(wildcard $(addsuffix /*.c,$(DIRS)))
MAIN     := fs/main.c
LIB_OBJS := $(patsubst %.c,$(B)/%.o,$(filter-out $(MAIN),$(SRCS)))
LIB      := $(B)/libmlenvfs.a
BIN      := $(B)/mlenvfs

UNIT_SUPPORT := $(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c))
# UNITS: a pattern of some of the unit tests, as in UNITS='test_fl%'; the default is all.
UNITS        ?= %
UNIT_SRCS    := $(filter $(UNITS:%=tests/unit/%.c),$(wildcard tests/unit/test_*.c))
UNIT_BINS    := $(patsubst %.c,$(B)/%,$(UNIT_SRCS))
PRELOADS     := tests/tools/killpoint.c tests/tools/noname.c
TOOL_BINS    := $(patsubst %.c,$(B)/%,$(filter-out $(PRELOADS),$(wildcard tests/tools/*.c)))
# Libraries to be preloaded; a sanitizer wants to be the first library and leaves no room for one.
TOOL_LIBS    := $(if $(SAN),,$(PRELOADS:%.c=$(B)/%.so))
MODEL_OBJS   := $(patsubst %.c,$(B)/%.o,$(wildcard tests/model/*.c))
MODEL_BIN    := $(B)/tests/model/test_model
# It has one thread: the thread sanitizer would see nothing.
TESTED_MODEL := $(if $(filter thread,$(SAN)),,$(MODEL_BIN))
BENCH_BINS   := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/*.c))
FUZZ_BINS    := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/*.c))

all: $(BIN)

$(BIN): $(B)/fs/main.o $(LIB)
	@echo "  LINK  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(LIB): $(LIB_OBJS)
	@echo "  AR    $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# The flags are part of what an object depends on: a changed Makefile rebuilds.
$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(patsubst %.c,$(B)/%.o,$(UNIT_SUPPORT)) $(LIB)
	@echo "  LINK  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) $(TEST_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(shell pkg-config --libs cmocka)

$(B)/tests/tools/%: $(B)/tests/tools/%.o $(LIB)
	@echo "  LINK  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(B)/tests/tools/%.so: tests/tools/%.c Makefile
	@mkdir -p $(@D)
	@echo "  CC    $@"
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -U_FORTIFY_SOURCE -fPIC -shared -MMD -MP -o $@ $<

# Its own fuse_reply_*() come before libfuse's: the library is linked last.
$(MODEL_BIN): $(MODEL_OBJS) $(LIB)
	@echo "  LINK  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) $(shell pkg-config --libs cmocka)

$(B)/tests/bench/%: $(B)/tests/bench/%.o
	@echo "  LINK  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^

$(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(LIB)
	@echo "  LINK  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

unit-bins: $(UNIT_BINS)
tools: $(TOOL_BINS) $(TOOL_LIBS)
model-bin: $(MODEL_BIN)
fuzz-bins: $(FUZZ_BINS)

.PHONY: all unit-bins model-bin tools fuzz-bins
.SECONDARY:
.DELETE_ON_ERROR:

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# ---- goals for people: everything above compiles, everything below uses what was compiled ----

# Arguments for pytest: files, or -k WORDS; the default is every integration test.
TESTS    ?= tests/integration
C_FILES   = $(wildcard $(foreach d,$(DIRS) tests/unit tests/model tests/tools tests/fuzz tests/bench,$(d)/*.[ch]))
SH_FILES  = $(shell grep -lE '^\#!.*[/ ](ba)?sh' -r scripts .ci tests/slow)
TIDY_JOBS ?= 2

run: all
	@scripts/demo start $(BIN)

stop:
	@scripts/demo stop $(BIN)

test: all unit-bins tools $(TESTED_MODEL)
	@PYTHON='$(PYTHON)' TESTS='$(TESTS)' scripts/run-tests $(FLAVOUR) $(UNIT_BINS) $(TESTED_MODEL)

# The same tests with what finds bad memory use and undefined behaviour, or data races. gcc's flow
# warnings are wrong too often in these builds; the release build has them as errors.
asan-test:
	@$(MAKE) --no-print-directory SAN=address WERROR= test
tsan-test:
	@$(MAKE) --no-print-directory SAN=thread WERROR= test

# Sequences of operations against the reference model; MODEL_SEED, MODEL_RUNS and MODEL_OPS repeat or extend a run.
model: model-bin
	$(Q)$(MODEL_BIN)

# Everything measured anew, beside the peers that are installed, in less than ten minutes: docs/benchmark.md and
# its plot. BENCH='--quick --out /tmp/x' or BENCH='--only cold' for less.
bench: $(BIN) $(BENCH_BINS)
	$(Q)$(PYTHON) tests/bench/bench.py $(BENCH)

# Mutated inputs for the parsers, 20,000 each; FUZZ_SEED and FUZZ_RUNS repeat or extend a run.
fuzz:
	@$(MAKE) --no-print-directory SAN=address WERROR= fuzz-run
fuzz-run: fuzz-bins
	$(Q)for program in $(FUZZ_BINS); do echo "  FUZZ  $$program"; $$program || exit 1; done

check: check-format check-includes check-banned check-scripts check-man check-cppcheck check-tidy
	@echo "check: all of it passed"

check-format:
	@echo "  FORMAT"
	$(Q)clang-format --dry-run -Werror $(C_FILES)

check-includes:
	@echo "  INCLUDES"
	$(Q)scripts/check-includes $(DIRS)

check-banned:
	@echo "  BANNED"
	$(Q)scripts/check-banned $(C_FILES)

check-scripts:
	@echo "  SHELLCHECK"
	$(Q)shellcheck $(SH_FILES)

check-man:
	@echo "  MANDOC"
	$(Q)mandoc -T lint -W warning docs/mlenvfs.1

# Of leaks it knows nothing: it does not follow __attribute__((cleanup)). LeakSanitizer finds the real ones.
check-cppcheck:
	@echo "  CPPCHECK"
	$(Q)cppcheck --quiet --enable=warning,performance,portability --error-exitcode=1 --inline-suppr \
		--std=c11 --suppress=missingIncludeSystem --suppress=memleak --suppress=resourceLeak \
		-D_GNU_SOURCE -I. -j $(TIDY_JOBS) $(DIRS)

# One file at a time: clang 14's analyzer takes what it learnt in one file into the next.
check-tidy:
	@echo "  CLANG-TIDY"
	$(Q)printf '%s\n' $(SRCS) | xargs -P $(TIDY_JOBS) -n 1 scripts/check-tidy $(ALL_CPPFLAGS) -std=c17 $(PKG_CFLAGS) --

# mount(8) looks for its helpers in /sbin: for /etc/fstab, install with PREFIX=/usr.
install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(SBINDIR) $(DESTDIR)$(MANDIR)/man1
	install -m 755 $(BIN) $(DESTDIR)$(BINDIR)/mlenvfs
	install -m 644 docs/mlenvfs.1 $(DESTDIR)$(MANDIR)/man1/mlenvfs.1
	ln -sf $(BINDIR)/mlenvfs $(DESTDIR)$(SBINDIR)/mount.mlenvfs
	ln -sf $(BINDIR)/mlenvfs $(DESTDIR)$(SBINDIR)/mount.fuse.mlenvfs

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/mlenvfs $(DESTDIR)$(MANDIR)/man1/mlenvfs.1
	rm -f $(DESTDIR)$(SBINDIR)/mount.mlenvfs $(DESTDIR)$(SBINDIR)/mount.fuse.mlenvfs

clean:
	rm -rf build

.PHONY: run stop test model bench asan-test tsan-test fuzz fuzz-run install uninstall clean
.PHONY: check check-format check-includes check-banned check-scripts check-man check-cppcheck check-tidy
