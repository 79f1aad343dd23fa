# The product: operator and relay in one image. Non-root, works with a read-only root, no compiler and no pip in it.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
# Wheels that were fetched beforehand (build/wheels) are used where a build has no way to a package index: PIP_ARGS=--no-index.
ARG PIP_ARGS=
COPY requirements/runtime.txt build/wheels/*.whl /build/
RUN python3 -m venv /opt/relayfleet \
 && /opt/relayfleet/bin/pip install --no-cache-dir --disable-pip-version-check --quiet --require-hashes \
      ${PIP_ARGS} --find-links /build -r /build/runtime.txt \
 && /opt/relayfleet/bin/pip uninstall --quiet --yes pip \
 && find /opt/relayfleet -name __pycache__ -prune -exec rm -rf {} +

FROM ${BASE}
RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && groupadd --gid 65532 relayfleet && useradd --uid 65532 --gid 65532 --no-create-home --home-dir / --shell /usr/sbin/nologin relayfleet
COPY --from=build /opt/relayfleet /opt/relayfleet
# Last, since it changes most. Compiled now: at run time the root file system is read-only.
COPY operator/relayfleet /opt/relayfleet/app/relayfleet
RUN /opt/relayfleet/bin/python -m compileall -q /opt/relayfleet/app
ENV PYTHONPATH=/opt/relayfleet/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# For people and programs: `kubectl exec … -- relayfleet find ID`.
RUN printf '#!/bin/sh\nexec /opt/relayfleet/bin/python -m relayfleet "$@"\n' > /usr/local/bin/relayfleet \
 && chmod 755 /usr/local/bin/relayfleet
USER 65532:65532
ENTRYPOINT ["/opt/relayfleet/bin/python", "-m", "relayfleet"]
