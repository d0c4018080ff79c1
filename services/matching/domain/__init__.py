"""The rules of matching: who may talk with whom, when, and how well they fit. No I/O, no clock, no chance."""
