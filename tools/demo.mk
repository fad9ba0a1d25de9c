# The main job, end to end: examples/machine-watch/README.md.

.PHONY: demo
demo: deps ## a plant's recording through unikernels, attacks mixed in; ends in a summary and a plot
	@$(MAKE) --no-print-directory all
	@/usr/bin/python3 examples/machine-watch/demo/demo.py $(BUILD)
