"""The ceilings: for each kind of work the shortest honest program on the same library, one small file each."""
