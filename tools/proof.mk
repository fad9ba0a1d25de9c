# Proofs by Frama-C: docs/proofs.md. Not part of `make test`, but for the part that tests/system/proof.sh repeats.

.PHONY: proof
proof: ## prove that the parsers of hostile bytes have no run-time errors; some minutes. Installs Frama-C and two provers
	@tools/install-packages $(BUILD) frama-c-base why3 z3 cvc4
	@tools/proof/prove $(BUILD)
