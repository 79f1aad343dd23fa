"""What is done to brokers: the management API, and the certificates that they get."""
