"""What ends the ledger before it could judge."""


class BadEvidence(Exception):
    """The evidence is missing, damaged or contradicts itself; the sentence says what to do about it."""
