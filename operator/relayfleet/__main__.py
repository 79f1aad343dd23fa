"""`relayfleet operator` runs the operator, `relayfleet relay` a relay; both are told what they need by their environment.
`relayfleet prober` watches relays for the operator, which starts it."""

from __future__ import annotations

import argparse
import logging
import sys


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="relayfleet", description=__doc__)
    parser.add_argument("role", choices=["operator", "relay", "prober"])
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    parser.add_argument(
        "--identity", nargs=3, metavar=("CERTIFICATE", "KEY", "AUTHORITY"), help="PEM files of a prober"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=options.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("kopf").setLevel(
        max(logging.WARNING, logging.getLevelName(options.log_level))
    )  # a line for each event
    if options.role == "prober":
        return _prober(options.identity or parser.error("a prober needs --identity CERTIFICATE KEY AUTHORITY"))
    return _operator() if options.role == "operator" else _relay()


# Imported late: an operator needs no relay in its memory, a relay no Kubernetes.
def _operator() -> int:
    from relayfleet.runtime import operator, settings

    try:
        return operator.run(settings.from_environment())
    except settings.SettingsError as error:
        print(f"relayfleet operator: {error}", file=sys.stderr)
        return 2


def _prober(files: list[str]) -> int:
    from relayfleet.runtime import prober

    return prober.run(files)


def _relay() -> int:
    from relayfleet.relay import main as relay

    return relay.run()


if __name__ == "__main__":
    sys.exit(main())
