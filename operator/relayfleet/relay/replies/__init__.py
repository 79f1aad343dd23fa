"""What a peer's answer means: code, status, text and provider → whose fault it is, why, and what to do."""
