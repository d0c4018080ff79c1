"""HTTP in: pages, JSON, and the internal interface."""
