# Unit tests under the address and undefined-behaviour sanitizers, in a build folder of their own.
# Warnings are the plain build's: instrumented code gives false ones.

.PHONY: sanitize
sanitize: ## unit tests under address and undefined-behaviour sanitizers
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/sanitize SANITIZE=address,undefined WARNINGS=-w \
		CFLAGS="-O1 -g -fno-sanitize-recover=all" guest unit-tests
	@ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
		tools/run-tests $(BUILD)/sanitize unit
