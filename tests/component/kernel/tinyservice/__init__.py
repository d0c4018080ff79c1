"""A service of a few routes and one handler, to try the kernel as a process."""
