"""Handing messages over: render, check, commit, hand over, settle."""
