"""Writes to the API server: status, events, endpoints."""
