"""Bounce, delay and relay reports to the sender."""
