"""relayfleet: fleets of e-mail relays on Kubernetes, in two regions, that fail over by themselves."""

__version__ = "0.1.0"
