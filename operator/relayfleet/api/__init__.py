"""The contract: RelayPool, SendingIP and QueueCluster as pydantic models. `crds/` is generated from here (`make crds`).

A field is here only if code behind it does something with it. Names cannot change later without a conversion, and kopf has
no conversion webhooks, so a name is chosen once.
"""
