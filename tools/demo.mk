# The main job, end to end: examples/machine-watch/README.md. `crenel build` does nothing for what is unchanged.

EXAMPLE_UNIKERNELS = $(sort $(wildcard examples/machine-watch/unikernels/*/unikernel.yaml))
EXAMPLE_IMAGES = $(patsubst examples/machine-watch/unikernels/%/unikernel.yaml,$(BUILD)/images/%.img, \
	$(EXAMPLE_UNIKERNELS)) $(BUILD)/images/mqtt.img

.PHONY: demo images $(EXAMPLE_IMAGES)
all: images
images: $(EXAMPLE_IMAGES) ## the images of the example, in build/images

$(BUILD)/images/mqtt.img: folder = guests/mqtt
$(BUILD)/images/%.img: folder = examples/machine-watch/unikernels/$*
$(EXAMPLE_IMAGES): $(BUILD)/images/%.img: programs guest
	@mkdir -p $(@D)
	@old=$$(stat -c %y $@ 2>/dev/null); said=$$($(BUILD)/bin/crenel build $(folder) -o $@) || exit 1; \
	[ "$$old" = "$$(stat -c %y $@)" ] || echo "  image   $${said%  sha256*}"

demo: deps ## a plant's recording through unikernels, attacks mixed in; ends in a summary and a plot
	@$(MAKE_QUIETLY) all
	@/usr/bin/python3 examples/machine-watch/demo/demo.py $(BUILD)
