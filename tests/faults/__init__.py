"""Proof by faults: what may never happen, shown on the stack that `make up` starts, while its parts fail."""
