"""What follows from what was seen. Pure: no I/O, no clock, no randomness, no logging."""
