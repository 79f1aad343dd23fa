"""When a deferred mail is tried again, and when no more."""
