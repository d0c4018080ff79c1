"""A crowd of invented people, sent through a running system by its public interfaces."""
