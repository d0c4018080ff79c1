"""HTTP in: the staff's log, people's preferences, texts that come in."""
