"""`relayfleet operator` runs the operator, `relayfleet relay` a relay: both are told what they need by their environment.
`relayfleet prober` probes relays for the leading operator. `relayfleet open` shows a person the record whose body it reads, in a relay's pod."""

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
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=options.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("kopf").setLevel(
        max(logging.WARNING, logging.getLevelName(options.log_level))
    )  # a line for each event
    return {"operator": _operator, "relay": _relay, "prober": _prober, "open": _open}[options.role](options)


def _prober_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--certificate", required=True, help="PEM file of this prober's certificate")
    parser.add_argument("--key", required=True, help="PEM file of its key")
    parser.add_argument("--authority", required=True, help="PEM file of the authority that signs leaders and probers")
    parser.add_argument("--port", type=int, help="TCP port to serve the leader on (default: 9641)")


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


def _prober(options: argparse.Namespace) -> int:
    from relayfleet.runtime import prober

    return prober.run(options)


if __name__ == "__main__":
    sys.exit(main())
