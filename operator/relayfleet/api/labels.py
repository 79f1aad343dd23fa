"""Names that other programs see: the API group, labels, annotations, the field manager, the readiness gate."""

GROUP = "relayfleet.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FIELD_MANAGER = "relayfleet"
"""The one field manager of every server-side apply; what we no longer state is removed by the API server."""

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "relayfleet"
"""Value of MANAGED_BY on every child. Children carry these labels only: a label copied from a parent (Argo CD's instance
label, say) would make another tool claim the child."""

POOL = f"{GROUP}/pool"
QUEUE = f"{GROUP}/queue"

LISTED = f"{GROUP}/listed"
"""Readiness gate of relay pods: true only while the pod is listed in an EndpointSlice."""

PAUSED = f"{GROUP}/paused"
"""Annotation: `"true"` on any of our resources stops the operator from changing its children."""

TEMPLATE = f"{GROUP}/pod-template"
INPUTS = f"{GROUP}/pod-template-inputs"
"""Annotations of a workload: the pod template as it was applied, and the digest of what it was made from. While the digest
stays, the old template stays, so a new operator restarts no relay."""

FOLLOWS = f"{GROUP}/follows"
"""Annotation of relay pods: which configuration they follow that relays from before it pay no heed to."""

DELETION_POLICY = f"{GROUP}/deletion-policy"
"""Annotation of a StatefulSet of brokers: what the QueueCluster said, for the time when that is gone."""

CONFIG_DIGEST = f"{GROUP}/config-digest"
"""Annotation of a relay pod: the configuration it should have. A change makes the kubelet look at its mounts at once."""

CORDON = f"{GROUP}/cordon"
"""Annotation that a person puts on a relay pod: `Soft` gives it new connections only when no other relay takes any, `Hard` gives it
none, and with `None` it stays in traffic whatever its evidence says. Removing it leaves the relay to its evidence."""

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation of a pod: of several that are well, a ReplicaSet that shrinks deletes the one with the lowest first."""

MONITORING = f"{GROUP}/monitoring"
"""Label of a namespace: with `"true"`, its pods may read the relays' status port (metrics)."""

NAMESPACE_NAME = "kubernetes.io/metadata.name"
SLICE_SERVICE = "kubernetes.io/service-name"
SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
ZONE = "topology.kubernetes.io/zone"
"""Well-known labels of Kubernetes that we read or write."""


def child_labels(component: str, instance: str, owner_label: str) -> dict[str, str]:
    """The labels of a child: `component` says what it is (relay, queue), `instance` names its resource."""
    return {
        NAME: "relayfleet",
        COMPONENT: component,
        INSTANCE: instance,
        MANAGED_BY: MANAGER,
        owner_label: instance,
    }
