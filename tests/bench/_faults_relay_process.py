"""`relayfleet relay` with its folders below another root than /etc: several of them stand side by side on one machine."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from relayfleet.relay.files import Files
from relayfleet.relay.main import run

if __name__ == "__main__":
    logging.basicConfig(
        level="INFO", format="%(created).6f %(levelname)s %(name)s %(message)s", filename=sys.argv[1] + "/relay.log"
    )
    sys.exit(run(Files(Path(sys.argv[1]))))
