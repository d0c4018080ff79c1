"""Kill points: named moments in the product at which a process can be made to kill itself."""
