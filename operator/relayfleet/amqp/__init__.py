"""A small AMQP 0-9-1 client: what a mail relay needs of RabbitMQ, and no more.

Why our own: the broker's confirm decides how many mails a second a relay takes in, and a general client spent four to five times
the relay's whole CPU on a task, an object and a socket write a message. Here a message is a few bytes appended to one write a
loop turn, and every operation has a deadline.

    errors      what can go wrong, by meaning
    fields      values and tables on the wire (pure)
    frames      bytes → frames → bytes (pure)
    methods     the protocol's methods that we speak (pure)
    content     message properties and the joining of body frames (pure)
    confirms    which publish a confirm means (pure)
    acks        which deliveries one `multiple` acknowledgement covers (pure)
    channel     questions and answers, in order: declare, bind, delete
    publishing  a channel that publishes, with confirms
    consuming   a channel that consumes: any number of consumers, each with its own prefetch and end
    connection  the socket: handshake, heartbeats, back-pressure, one write a loop turn
    dial        TCP and TLS, with errors that say what to do
"""
