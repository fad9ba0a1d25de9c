# The hardening checklist: docs/hardening.md. It is part of `make test` too.

.PHONY: checklist
checklist: programs guest ## the hardening checklist of public studies, with evidence; ISOLATION=process or kvm: that alone
	@CRENEL_BUILD=$(BUILD) tests/system/checklist.py $(ISOLATION)
