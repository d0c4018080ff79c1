"""The proof of the proof: the product is broken on purpose, one way at a time, and a test or the ledger must see it."""
