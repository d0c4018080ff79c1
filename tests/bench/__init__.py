"""How fast, against the ceilings of the libraries underneath, measured in the same run: `make bench`."""
