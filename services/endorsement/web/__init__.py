"""HTTP in: pages and the JSON interface; both call the same actions."""
