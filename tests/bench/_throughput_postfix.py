"""The peer: Postfix from Debian with its own defaults (its fsync too), which relays to the sink.

Changed is only what has to be: loopback, a relayhost, no DNS, a log file. Queue and log lie on volumes of the engine, on the same disk as
those of the brokers.
"""

from __future__ import annotations

import asyncio
import shlex

from tests.bench._throughput_tools import SINK, SINK_PORT, Container

PORT = 2527
START_SECONDS = 30.0
SETTINGS = {
    "compatibility_level": "3.10",
    "myhostname": "postfix.bench.example",
    "mydestination": "",
    "alias_maps": "",
    "local_recipient_maps": "",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8",
    "relayhost": f"[{SINK}]:{SINK_PORT}",
    "smtp_dns_support_level": "disabled",
    "smtp_host_lookup": "native",
    "smtpd_peername_lookup": "no",
    "maillog_file": "/var/log/postfix.log",
}
SERVICE = f"{PORT}/inet={PORT} inet n - y - - smtpd"


class Postfix:
    """Runs from the start."""

    name, port = "postfix", PORT

    def __init__(self) -> None:
        settings = shlex.join(f"{name}={value}" for name, value in SETTINGS.items())
        command = f"""
            touch /etc/postfix/main.cf
            postconf -e {settings}
            postconf -MX smtp/inet
            postconf -Me '{SERVICE}'
            exec postfix start-fg
        """
        self._container = Container("postfix", ["-v", "/var/spool/postfix", "-v", "/var/log"], command)

    def cpu(self) -> dict[str, float]:
        """Seconds of processor so far, by who used them."""
        return {"postfix": self._container.cpu}

    @property
    def version(self) -> str:
        """As it says itself."""
        return self._container.execute("postconf -hd mail_version").strip()

    def only_take(self, port: int) -> None:
        """From now on relay to another port, where nobody answers, and do not slow down clients because deliveries fall behind, as it does by
        default: intake at its best."""
        self._container.execute(f"postconf -e in_flow_delay=0 'relayhost=[{SINK}]:{port}'; postfix reload")

    async def ready(self) -> None:
        """Wait until it takes connections. Raises TimeoutError."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", PORT)
                except OSError:
                    await asyncio.sleep(0.1)
                else:
                    writer.close()
                    return
