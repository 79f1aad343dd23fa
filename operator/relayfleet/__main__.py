"""`relayfleet operator` runs the operator, `relayfleet relay` a relay: both are told what they need by their environment.
`relayfleet prober` probes relays for the leading operator. `relayfleet open` shows a person the record whose body it reads, in a relay's pod;
`relayfleet events` writes what becomes of the pool's mail as JSON lines there, and `relayfleet find` tells a person the history of one mail."""

from __future__ import annotations

import argparse
import logging
import sys


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="relayfleet", description=__doc__)
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    roles = parser.add_subparsers(dest="role", required=True)
    for role in ("operator", "relay"):
        roles.add_parser(role)
    _prober_arguments(roles.add_parser("prober"))
    roles.add_parser("open")
    _events_arguments(roles.add_parser("events"))
    _find_arguments(roles.add_parser("find"))
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=options.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("kopf").setLevel(
        max(logging.WARNING, logging.getLevelName(options.log_level))
    )  # a line for each event
    return _ROLES[options.role](options)


def _prober_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--certificate", required=True, help="PEM file of this prober's certificate")
    parser.add_argument("--key", required=True, help="PEM file of its key")
    parser.add_argument("--authority", required=True, help="PEM file of the authority that signs leaders and probers")
    parser.add_argument("--port", type=int, help="TCP port to serve the leader on (default: 9641)")


def _events_arguments(parser: argparse.ArgumentParser) -> None:
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--after", default="", metavar="OFFSET", help="go on behind the event with this `offset`")
    start.add_argument(
        "--since", default="", metavar="TIME", help="30m, 2h, or 2026-01-31T12:00:00Z; may begin earlier"
    )
    start.add_argument("--from-beginning", action="store_true", help="all that the journal has: about an hour")
    parser.add_argument("--no-follow", action="store_true", help="end where the journal ends now")


def _find_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", help="a record's id (as in the 250 and in logs) or a Message-ID")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="give up then (default: 120)")


# Imported late: an operator needs no relay in its memory, a relay no Kubernetes.
def _operator(options: argparse.Namespace) -> int:
    from relayfleet.runtime import operator, settings

    try:
        return operator.run(settings.from_environment())
    except settings.SettingsError as error:
        print(f"relayfleet operator: {error}", file=sys.stderr)
        return 2


def _relay(options: argparse.Namespace) -> int:
    from relayfleet.relay import main as relay

    return relay.run()


def _open(options: argparse.Namespace) -> int:
    from relayfleet.relay import opening

    return opening.run(sys.stdin.buffer, sys.stdout.buffer)


def _events(options: argparse.Namespace) -> int:
    from relayfleet.relay.events import commands

    return commands.run_events(options.after, options.since, options.from_beginning, not options.no_follow)


def _find(options: argparse.Namespace) -> int:
    from relayfleet.relay.events import commands

    return commands.run_find(options.id, options.timeout)


def _prober(options: argparse.Namespace) -> int:
    from relayfleet.runtime import prober

    return prober.run(options)


_ROLES = {"operator": _operator, "relay": _relay, "prober": _prober, "open": _open, "events": _events, "find": _find}


if __name__ == "__main__":
    sys.exit(main())
