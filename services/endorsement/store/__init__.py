"""Every SQL statement of the endorsement service, by what it is about.

The row of a candidacy is the lock of everything about its applications: take it first (`lock_candidacy`), then the
feed's counter, then the audit log's head.
"""
