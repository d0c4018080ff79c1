"""Delivering webhooks: addresses that may be sent to, signatures, one try, and the loop that claims and settles."""
