"""The queue on RabbitMQ 4: two lanes of quorum queues, so that neither a dead nor a frozen node stops the mail.

topology    which queues, with which arguments (pure)
declaring   making them, and the proof that dead letters are kept
link        one connection that is kept up
lane        one way to publish, and whether it can be relied on
publisher   storing a record: confirm, hedge, deadline
consumer    taking, settling, releasing
copies      duplicates that meet in one relay (pure)
quota       our own watermark
spool       all of it behind `interface.Spool`
"""

from relayfleet.relay.spool.rabbitmq.journal import RabbitMQJournal
from relayfleet.relay.spool.rabbitmq.spool import RabbitMQSpool

__all__ = ["RabbitMQJournal", "RabbitMQSpool"]
