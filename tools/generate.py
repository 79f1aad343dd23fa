"""Writes what is generated from the contract: `crds/*.yaml`, the chart's copy of them, and Argo CD's health settings.

python tools/generate.py          writes
python tools/generate.py --check  exits with 1 when a file differs from what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from relayfleet.api.labels import GROUP
from relayfleet.api.schema import KINDS, crd

ROOT = Path(__file__).resolve().parent.parent
HEAD = "# Generated from operator/relayfleet/api by `make crds`. Do not edit.\n"


def outputs() -> dict[Path, str]:
    """Every generated file with its text."""
    files: dict[Path, str] = {}
    for kind in KINDS:
        text = HEAD + yaml.safe_dump(crd(kind), sort_keys=False, width=120, allow_unicode=True)
        for folder in ("crds", "charts/relayfleet/files/crds"):
            files[ROOT / folder / f"{kind.name}.yaml"] = text
    files[ROOT / "manifests/argocd/argocd-cm.yaml"] = argocd_settings()
    return files


def argocd_settings() -> str:
    """A patch for Argo CD's ConfigMap: the same health check for each of our kinds."""
    script = (ROOT / "manifests/argocd/health.lua").read_text()
    body = "".join(f"    {line}\n" if line else "\n" for line in script.splitlines())
    keys = "".join(f"  resource.customizations.health.{GROUP}_{kind.kind}: |\n{body}" for kind in KINDS)
    head = "# Generated from health.lua by `make crds`. Apply with: kubectl -n argocd patch cm argocd-cm --patch-file <this file>\n"
    return f"{head}apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\n  namespace: argocd\ndata:\n{keys}"


def main() -> int:
    wanted = outputs()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: run `make crds` and commit the result")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
