"""`make demo`: two regions on this machine, a real mail flow, a killed relay, and what became of the mail."""
