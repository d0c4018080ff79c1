"""The ledger: what was promised to people, compared with what the system holds (see docs/ledger.md)."""
