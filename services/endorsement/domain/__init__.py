"""The rules of endorsing: who is eligible, who may review, and what may be decided when. No I/O."""
