"""Two real clusters on one machine, with or without an image registry in reach. `python3 -m tests.testbed up` brings them up.

Standard library only: it runs before anything is installed.
"""
