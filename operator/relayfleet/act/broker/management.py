"""RabbitMQ's management API over TLS, as far as the operator uses it.

Any broker answers for the whole cluster, so each request goes to the first one that does. Brokers are reached by address and known by name:
the operator needs no DNS, and an address that another pod has got by now fails at the certificate.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from relayfleet.act.broker.errors import BrokerErred, BrokerFailed, BrokerRefused, BrokerUnreachable

CONNECT, DEADLINE = 1.5, 8.0
"""Seconds to reach a broker, and for a whole answer unless the client is told otherwise. A broker asks all the others, so one that is frozen
makes the answer late."""

_QUEUE_COLUMNS = "name,vhost,type,leader,members"
_COUNTED = f"queues?disable_stats=true&enable_queue_totals=true&columns={_QUEUE_COLUMNS},online,messages"
_LISTED = f"queues?disable_stats=true&columns={_QUEUE_COLUMNS}"
"""Two ways to list queues. For the first each queue is asked, and a stream asks the brokers' stream coordinator: when that is gone (RabbitMQ 4.0
has no answer to `noproc`), the whole list ends in an error 500. The second is what brokers have written down of queues. It has no counts, and in its
`online` a member is up when its broker is, which is less than it says elsewhere: so that is not asked for.
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One broker: `address` and `port` to connect to, `name` that its certificate must have."""

    address: str
    name: str
    port: int = 15671

    def url(self, path: str) -> str:
        """The URL of a path; `path` is escaped already."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"https://{host}:{self.port}/api/{path}"


@dataclass(frozen=True, slots=True)
class Rights:
    """What a user may do, as regular expressions for the names of queues and exchanges."""

    configure: str = ".*"
    write: str = ".*"
    read: str = ".*"


EVERYTHING = Rights()
"""Of relays in their virtual host, which holds nothing but their queues."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All queues, with name, vhost, type and, as far as is known, leader, members, online, messages. `uncounted`: the brokers' error when
    they tell neither `online` nor `messages` of any queue: nothing is known of them then, and least of all that they are empty."""

    queues: tuple[dict[str, Any], ...]
    uncounted: str = ""


class Management:
    """A client for one cluster; use it as an async context manager. `deadline`: seconds that one broker has to answer one question. Errors are those of `act.broker.errors`."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        username: str,
        password: str,
        certificate_authority: str,
        deadline: float = DEADLINE,
    ) -> None:
        self._endpoints = list(endpoints)
        self._deadline = deadline
        login = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"}
        self._tls = ssl.create_default_context(cadata=certificate_authority)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=self._deadline, sock_connect=CONNECT)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def first(self) -> str:
        """The name of the broker that is asked first, "" when there is none."""
        return self._endpoints[0].name if self._endpoints else ""

    async def version(self) -> str:
        """The RabbitMQ version of the broker that answers."""
        return str((await self._get("overview"))["rabbitmq_version"])

    async def nodes(self) -> list[dict[str, Any]]:
        """All brokers that the cluster knows, with name, running, mem_alarm, disk_free_alarm."""
        return await self._list("nodes?columns=name,running,mem_alarm,disk_free_alarm")

    async def queues(self) -> list[dict[str, Any]]:
        """All queues, see `Listing`. One that was not counted lacks `messages`."""
        return list((await self.listing()).queues)

    async def listing(self) -> Listing:
        """All queues, counted if the brokers can do that, and if they cannot, why not."""
        try:
            return Listing(tuple(await self._list(_COUNTED)))
        except BrokerErred as error:
            found = await self._list(_LISTED)
            known = _QUEUE_COLUMNS.split(",")
            return Listing(tuple({key: each[key] for key in known if key in each} for each in found), str(error))

    async def holds_record(self, vhost: str, queue: str) -> bool:
        """Whether a queue holds a record that nobody else holds: taken and put back. A majority answers, where a count may be seconds old."""
        path = f"queues/{quote(vhost, safe='')}/{quote(queue, safe='')}/get"
        order = {"count": 1, "ackmode": "reject_requeue_true", "encoding": "base64", "truncate": 1}
        return bool(await self._call("POST", path, order))

    async def consumed(self, vhost: str) -> set[str]:
        """Names of the queues of a virtual host that have a consumer. From statistics, so some seconds old. Brokers keep the consumers of a stream
        for ever, without the channel when that is gone."""
        found = await self._list(f"consumers/{quote(vhost, safe='')}?columns=queue.name,channel_details")
        return {each["queue"]["name"] for each in found if each.get("channel_details")}

    async def connected(self) -> set[str]:
        """Users that are logged in by AMQP this moment, those included that do not exist any more; by what each broker counts, not by statistics."""
        return {each["user"] for each in await self._list("connections?disable_stats=true&columns=user")}

    async def delete_queue(self, vhost: str, queue: str) -> bool:
        """Remove a queue with whatever is in it: there is no such thing as `if-empty` for quorum queues. False when there was none. One broker
        is asked: after an error the queue may still be removed, later, when that broker goes on."""
        path = f"queues/{quote(vhost, safe='')}/{quote(queue, safe='')}"
        return await self._call("DELETE", path, missing_is_fine=True, brokers=1) is not None

    async def set_user(self, name: str, password: str) -> bool:
        """See that a user without tags has this password; False when it had. Open connections stay."""
        user = await self._get(f"users/{quote(name, safe='')}", missing_is_fine=True)
        if user is not None and password_fits(password, user.get("password_hash", "")):
            return False
        await self._call("PUT", f"users/{quote(name, safe='')}", {"password": password, "tags": ""})
        return True

    async def allow(self, user: str, vhost: str, rights: Rights = EVERYTHING) -> bool:
        """See that the user may do this in the virtual host, and no more; False when it was so."""
        path = f"permissions/{quote(vhost, safe='')}/{quote(user, safe='')}"
        found = await self._get(path, missing_is_fine=True)
        if found is not None and asdict(rights).items() <= found.items():
            return False
        await self._call("PUT", path, asdict(rights))
        return True

    async def users(self) -> dict[str, str]:
        """The hash of each user's password, by name; see `password_fits`."""
        found = await self._list("users?columns=name,password_hash")
        return {each["name"]: each.get("password_hash", "") for each in found}

    async def permissions(self, vhost: str) -> dict[str, Rights]:
        """What each user may do in the virtual host, by name."""
        found = await self._list(f"vhosts/{quote(vhost, safe='')}/permissions")
        return {each["user"]: Rights(*(each.get(key, "") for key in asdict(EVERYTHING))) for each in found}

    async def put_user(self, name: str, password: str, vhost: str) -> None:
        """Make a user without tags that may do everything in the virtual host, or make it so. Open connections stay."""
        await self._call("PUT", f"users/{quote(name, safe='')}", {"password": password, "tags": ""})
        await self._call("PUT", f"permissions/{quote(vhost, safe='')}/{quote(name, safe='')}", asdict(EVERYTHING))

    async def delete_user(self, name: str) -> bool:
        """Remove a user; its connections are closed, a moment later. False when there was none."""
        return await self._call("DELETE", f"users/{quote(name, safe='')}", missing_is_fine=True) is not None

    async def close_connections(self, user: str) -> None:
        """Close all connections of a user, which may be gone by now; those that the brokers count this moment, not those that the statistics
        list seconds later. Their channels end first, then the client is told; who has not said good-bye is cut off at the second call."""
        await self._call("DELETE", f"connections/username/{quote(user, safe='')}")

    async def has_user(self, name: str) -> bool:
        """Whether there is such a user."""
        return await self._get(f"users/{quote(name, safe='')}", missing_is_fine=True) is not None

    async def add_member(self, vhost: str, queue: str, node: str) -> None:
        """Give a quorum queue a member on another broker. It counts for the majority once it has caught up."""
        path = f"queues/quorum/{quote(vhost, safe='')}/{quote(queue, safe='')}/replicas/add"
        await self._call("POST", path, {"node": node})

    async def spread_leaders(self) -> None:
        """Ask the cluster to move leaders so that each broker leads about as many queues."""
        await self._call("POST", "rebalance/queues")

    async def enable(self, feature: str) -> bool:
        """See that a feature flag is on; False when it was, or when these brokers do not know it."""
        flags = {each["name"]: each["state"] for each in await self._list("feature-flags?columns=name,state")}
        if flags.get(feature) != "disabled":
            return False
        await self._call("PUT", f"feature-flags/{quote(feature, safe='')}/enable", {"name": feature})
        return True

    async def _list(self, path: str) -> list[dict[str, Any]]:
        found = await self._get(path)
        if not isinstance(found, list):
            raise BrokerFailed(f"management API: {path} is no list")
        return found

    async def _get(self, path: str, *, missing_is_fine: bool = False) -> Any:
        return await self._call("GET", path, missing_is_fine=missing_is_fine)

    async def _call(
        self, method: str, path: str, body: Any = None, *, missing_is_fine: bool = False, brokers: int | None = None
    ) -> Any:
        """`brokers`: how many of them are asked in turn, all without it. What broke inside of one may work in another, but only a question
        may be asked twice."""
        failures: dict[str, str] = {}
        erred: BrokerErred | None = None
        for endpoint in self._endpoints[:brokers]:
            try:
                return await self._ask(endpoint, method, path, body, missing_is_fine)
            except BrokerErred as error:
                if method != "GET":
                    raise
                erred = error
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                failures.setdefault(_cause(error), endpoint.name)
                self._endpoints.remove(endpoint)
                self._endpoints.append(endpoint)
        if erred:
            raise erred
        causes = "; ".join(f"{name}: {cause}" for cause, name in failures.items())
        raise BrokerUnreachable(causes or "no broker has an address yet")

    async def _ask(self, endpoint: Endpoint, method: str, path: str, body: Any, missing_is_fine: bool) -> Any:
        if self._session is None:
            raise RuntimeError("use Management as an async context manager")
        url = URL(endpoint.url(path), encoded=True)
        async with (
            asyncio.timeout(self._deadline),
            self._session.request(
                method, url, json=body, ssl=self._tls, server_hostname=endpoint.name, middlewares=(_once,)
            ) as response,
        ):
            if response.status == 404 and missing_is_fine:
                return None
            if response.status == 401:
                raise BrokerRefused("the brokers do not take the operator's password")
            text = await response.text()
            if response.status >= 300:
                raise _failure(response.status, f"management API: {method} {path}: {response.status} {text[:200]}")
            return await response.json() if text and response.content_type == "application/json" else True


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A deletion is sent once: aiohttp would send it again over a new connection when a broker ends the first one without an answer, and of two deletions one
    may be carried out long after the other."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if request.method != "DELETE" or isinstance(error, aiohttp.ClientConnectorError):
            raise
        raise aiohttp.ClientConnectionError("the connection was lost") from error


def _failure(status: int, message: str) -> BrokerFailed:
    return BrokerErred(message, status) if status >= 500 else BrokerFailed(message)


def _cause(error: Exception) -> str:
    """In few words, without addresses, so that the same cause reads the same."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not one of this queue's"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or "no connection"
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__


def password_fits(password: str, password_hash: str) -> bool:
    """Whether a hash as RabbitMQ stores it (base64 of a salt of 4 bytes and the SHA-256 of salt and password) is of this password."""
    try:
        stored = base64.b64decode(password_hash)
    except ValueError:
        return False
    computed = stored[:4] + hashlib.sha256(stored[:4] + password.encode()).digest()
    return hmac.compare_digest(stored, computed)
