"""A relay of a Bulk pool takes what the brokers have left."""
