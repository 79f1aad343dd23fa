"""What follows for a pool of relays: who is listed for traffic and how, who goes first, and what the status says. Pure."""
