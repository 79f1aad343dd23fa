"""The ledger's command line.

python3 -m tests.ledger submit --target HOST:PORT --recipient user{n}@example.test --count 1000 --ledger build/ledger.jsonl
python3 -m tests.ledger judge --ledger build/ledger.jsonl --sink http://HOST:8025
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.ledger.entries import Ledger, read
from tests.ledger.judge import judge
from tests.ledger.submit import Plan, submit
from tests.sink.client import SinkClient


def main() -> int:
    parser = argparse.ArgumentParser(prog="ledger", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    _submit_options(commands.add_parser("submit", help="send mails and write down every answer"))
    _judge_options(commands.add_parser("judge", help="compare what was accepted with what arrived"))
    given = parser.parse_args()
    return asyncio.run(_submit(given) if given.command == "submit" else _judge(given))


def _submit_options(parser: argparse.ArgumentParser) -> None:
    defaults = Plan((), ())
    parser.add_argument("--target", action="append", required=True, metavar="HOST:PORT", help="several: used in turn")
    parser.add_argument(
        "--recipient", action="append", required=True, metavar="ADDRESS", help="{n}: number of the mail"
    )
    parser.add_argument("--ledger", type=Path, required=True, help="file that is appended to")
    parser.add_argument("--count", type=int, default=defaults.count)
    parser.add_argument("--rate", type=float, default=defaults.rate, help="mails a second; 0: as fast as possible")
    parser.add_argument("--concurrency", type=int, default=defaults.concurrency, help="sessions at a time")
    parser.add_argument("--per-mail", type=int, default=defaults.per_mail, help="recipients of each mail")
    parser.add_argument("--size", type=int, default=defaults.size, help="bytes of a mail")
    parser.add_argument("--sender", default=defaults.sender)
    parser.add_argument("--reuse", type=int, default=defaults.reuse, help="mails in one session")
    parser.add_argument("--tls", choices=("none", "starttls", "implicit"), default=defaults.tls)
    parser.add_argument("--ca", help="file with the authority that the certificate must be from; default: not checked")
    parser.add_argument("--username")
    parser.add_argument("--password")
    parser.add_argument("--timeout", type=float, default=defaults.timeout, help="seconds for one answer")
    parser.add_argument("--give-up", type=float, default=defaults.give_up, help="seconds for one mail")


def _judge_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ledger", type=Path, required=True, action="append")
    parser.add_argument(
        "--sink", action="append", default=[], metavar="URL", help="control service of a sink; several: together"
    )
    parser.add_argument(
        "--records", action="append", default=[], type=Path, help="file with a sink's records (its --spill)"
    )


async def _submit(given: argparse.Namespace) -> int:
    options = {
        name: value for name, value in vars(given).items() if name not in ("command", "target", "recipient", "ledger")
    }
    plan = Plan(targets=tuple(given.target), recipients=tuple(given.recipient), **options)
    began = time.monotonic()
    with Ledger(given.ledger) as ledger:
        outcomes = await submit(plan, ledger)
    seconds = time.monotonic() - began
    print(
        json.dumps(
            {**outcomes, "seconds": round(seconds, 3), "accepted_per_second": round(outcomes["accepted"] / seconds, 1)}
        )
    )
    return 1 if outcomes["refused"] or outcomes["given-up"] else 0


async def _judge(given: argparse.Namespace) -> int:
    messages: list[dict[str, Any]] = []
    for url in given.sink:
        messages += await SinkClient(url).messages()
    for path in given.records:
        messages += map(json.loads, path.read_text().splitlines())
    verdict = judge((entry for path in given.ledger for entry in read(path)), messages)
    print(verdict)
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
