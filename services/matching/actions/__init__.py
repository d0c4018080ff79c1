"""One transaction each: what pages, JSON, events and timers have in common."""
