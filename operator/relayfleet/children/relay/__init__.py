"""The children of a RelayPool: relay pods and what stands around them."""
