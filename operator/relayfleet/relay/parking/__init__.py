"""Destinations that nobody reaches: who is one, how it is tried without a mail, and when its mail goes on (see docs/decisions/0028-parking.md)."""
