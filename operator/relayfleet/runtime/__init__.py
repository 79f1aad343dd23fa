"""Processes: the composition root, the lease, liveness, the work queue, and the state that is kept in memory."""
