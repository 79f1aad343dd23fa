"""Mail that is tried now instead of later: what waits, by a person's order (see docs/decisions/0027-requeue.md), and what is parked, when its destination
answers again (0028-parking.md)."""

from relayfleet.relay.spool.rabbitmq.requeue.release import Releaser, Releases
from relayfleet.relay.spool.rabbitmq.requeue.service import Orders, Requeuer

__all__ = ["Orders", "Releaser", "Releases", "Requeuer"]
