"""Waiting mail that a person orders to be tried now (see docs/decisions/0027-requeue.md)."""

from relayfleet.relay.spool.rabbitmq.requeue.service import Orders, Requeuer

__all__ = ["Orders", "Requeuer"]
