"""What may be done, each act one transaction: the rules of `domain` under the locks of `store`."""
