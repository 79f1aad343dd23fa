"""Speaking to the API server: one small client for the rooms that read it and the rooms that write to it."""
