"""The relay's side of telemetry and orders: it tells the leading operator what its live traffic shows, and stands as it is ordered.

    tally ── counts of every outcome ──┐
    pulse, machine ── vitals ──────────┴─► windows ─► telling ─► leader
    server ◄── Hello, Order ── leader;   server ─► obedience ─► SMTP server, delivery

A relay without certificates for this (an older operator made it), or without a leader, relays as ever.
"""
