"""The pool's events, as a person or a program reads them from the journal."""
