"""Events: what `kubectl describe` and `kubectl get events` tell about a resource, in the words of its conditions."""

from __future__ import annotations

import datetime
import logging

from relayfleet.api.labels import FIELD_MANAGER
from relayfleet.kube.client import Kube, Object
from relayfleet.kube.errors import KubeError

log = logging.getLogger(__name__)


class Recorder:
    """Writes events. A lost event is logged and never stops the work that it tells about."""

    def __init__(self, kube: Kube, instance: str) -> None:
        self._kube = kube
        self._instance = instance

    async def event(
        self, about: Object, reason: str, message: str, *, warning: bool = False, action: str = "Reconcile"
    ) -> None:
        """One event about an object; `reason` is a word, `message` a sentence."""
        metadata = about["metadata"]
        now = datetime.datetime.now(datetime.UTC)
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "namespace": metadata["namespace"],
                "name": f"{metadata['name']}.{int(now.timestamp() * 1e6):x}",
            },
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "reason": reason,
            "message": message[:1024],
            "type": "Warning" if warning else "Normal",
            "action": action,
            "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "firstTimestamp": None,
            "lastTimestamp": None,
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._instance,
        }
        try:
            await self._kube.create(event)
        except KubeError as error:
            log.warning(
                "event %s about %s/%s was not recorded: %s", reason, metadata["namespace"], metadata["name"], error
            )
