"""The relay asks for what its pool declared as dependencies, by its own path, and knows what follows when nobody answers.

    probes (TCP, HTTP, PostgreSQL) ── outcomes ──► verdict (pure) ──► service ──┬─► SMTP server: 451 to new mail
                                                                                ├─► windows ─► leader
                                                                                └─► metrics

Whatever happens here is no word about this relay: its health is judged without it.
"""
