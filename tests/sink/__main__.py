"""Runs the sink: `python3 -m tests.sink --smtp-port 25 --http-port 8025`. Stops on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

from tests.sink.certificate import NoCertificate, context, self_signed
from tests.sink.server import Options, Sink


def options() -> Options:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="sink", description="A receiving mail server that does what tests tell it.")
    parser.add_argument("--host", help="address to listen on (default: all)")
    parser.add_argument("--smtp-port", type=int, action="append", help="may be given several times (default: 25)")
    parser.add_argument("--http-port", type=int, default=8025)
    parser.add_argument("--name", default="sink.example.test", help="name in banner, EHLO and certificate")
    parser.add_argument("--tls-cert", type=Path, help="certificate (PEM); default: a self-signed one")
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--no-tls", action="store_true", help="do not offer STARTTLS")
    parser.add_argument("--keep", type=int, default=2_000_000, help="records of messages that are kept")
    parser.add_argument(
        "--keep-raw", type=int, default=0, metavar="N", help="keep the last N messages whole (256 MiB at most)"
    )
    parser.add_argument("--spill", type=Path, metavar="FILE", help="append every record to this file too")
    parser.add_argument("--max-size", type=int, default=64 * 1024**2, help="bytes of the largest message")
    given = parser.parse_args()
    return Options(
        host=given.host,
        smtp_ports=tuple(given.smtp_port or [25]),
        http_port=given.http_port,
        name=given.name,
        tls=None if given.no_tls else _tls(given.name, given.tls_cert, given.tls_key),
        keep=given.keep,
        keep_raw=given.keep_raw,
        spill=given.spill,
        message_bytes=given.max_size,
    )


def _tls(name: str, certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate:
        return context(certificate, key or certificate)
    try:
        return self_signed(name)
    except NoCertificate as error:
        print(error, flush=True)
        return None


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed: a mail costs half the CPU, which is then there for what is tested."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def main(chosen: Options) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Sink(chosen) as sink:
        print(f"sink: SMTP on {', '.join(map(str, sink.smtp_ports))}, control on {sink.http_port}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        runner.run(main(options()))
