"""What is done about it: writes to the API server, orders to relays, the broker's fence. A folder each."""
