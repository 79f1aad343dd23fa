"""Probing relays over SMTP: `Fleet` watches any number of targets and reports what it sees in the words of `protocol.probing`.

    Fleet ── one Watcher a target ── Conversations (one stays, others are fresh) ── Wire (socket, TLS)
                 ├─ Transactions ── MailSession ── Wire: probe mails, for targets with a discard address
                 └─ Ledger: which probes are open            Pulse: when this process itself was away

Everything runs in callbacks of one event loop, without a task for a probe: thousands of targets fit into one core.
"""
