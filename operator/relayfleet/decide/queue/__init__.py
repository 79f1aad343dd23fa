"""What follows for a QueueCluster from what was seen of it. Pure."""
