# The manual page is written by the program from its own command table; tests/system/manual.sh compares.

.PHONY: man
man: $(BUILD)/bin/crenel ## write docs/crenel.1 anew
	$(BUILD)/bin/crenel help --man >docs/crenel.1
