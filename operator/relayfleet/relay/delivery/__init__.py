"""How mail leaves: SMTP client, reused sessions, and the worker that takes records and settles them."""
