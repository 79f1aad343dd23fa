"""What is seen of the world: probes of relays, brokers and what they depend on."""
