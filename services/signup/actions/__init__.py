"""Transactions that pages, JSON, handlers and the command line share."""
