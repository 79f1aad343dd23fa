"""What operator, relays, probers and regions say to each other: versioned messages, standard library only."""
