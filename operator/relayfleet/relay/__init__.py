"""The data plane: what runs in a relay pod. It knows nothing of Kubernetes."""
