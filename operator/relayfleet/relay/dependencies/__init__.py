"""The relay asks for what its pool declared as dependencies, by its own path, and knows what follows when nobody answers.

    probes (TCP, HTTP, PostgreSQL, DNS) ── outcomes ──► verdict (pure) ──► service ──┬─► SMTP server: 451 to new mail
                                                                                ├─► windows ─► leader
                                                                                └─► metrics

`resolvers` asks the resolvers too, which nobody has to declare.

Whatever happens here is no word about this relay: its health is judged without it.
"""
