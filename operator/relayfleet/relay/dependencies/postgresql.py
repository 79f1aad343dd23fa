"""Does a database answer a query? asyncpg speaks its protocol; deadline, name, and how much is read are ours.

The connection is kept: thousands of relays that log in every other second would be a load of their own. After any failure, and when the
credentials are other ones, the next probe begins with a new one.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import asyncpg

from relayfleet.protocol.dependency import PostgreSQLTarget
from relayfleet.relay.dependencies.outcome import Failed, NotAsked
from relayfleet.relay.dependencies.postgresql_wire import Wire
from relayfleet.relay.dependencies.reaching import Names, Reach, Stage, distrusted, split
from relayfleet.relay.dependencies.trust import Authorities
from relayfleet.relay.files import look

_FOREVER = 3600.0
"""asyncpg's own deadline, which shall never come before ours."""


class PostgreSQLProbe:
    """Asks one query; `username` and `password` are files in `folder`."""

    def __init__(self, target: PostgreSQLTarget, names: Names, folder: Path) -> None:
        host, port = split(target.address)
        self._target = target
        self._folder = folder
        self._reach = Reach(names, host, port)
        self._authorities = Authorities(target.trust, folder) if target.trust else None
        self._name = (target.trust.server_name if target.trust else None) or host
        self._wire: Wire | None = None
        self._connection: asyncpg.Connection | None = None
        self._login: tuple[object, ...] = ()

    async def ask(self, stage: Stage) -> None:
        """Raises Failed and NotAsked."""
        answered = False
        try:
            await self._ask(stage)
            answered = True
        except ssl.SSLError as error:
            raise distrusted(error, self._name) from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise Failed(f"refuses the query or the log-in: {_line(error)}") from error
        except (OSError, EOFError) as error:
            raise Failed(f"ended the connection: {_line(error)}") from error
        finally:
            if not answered:
                self.close()

    async def _ask(self, stage: Stage) -> None:
        if self._login != (now := look(self._folder)):
            self.close()
            self._login = now
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect(stage)
        stage.ask()
        if self._wire is not None:
            self._wire.refill()
        # One row, however many there are: the server is told to send no more.
        await self._connection.fetchrow(self._target.query)

    async def _connect(self, stage: Stage) -> asyncpg.Connection:
        username, password = self._credentials()
        context = self._authorities.context() if self._authorities else False
        self._wire = Wire(self._reach, stage, self._name)
        return await asyncpg.connect(
            loop=self._wire,
            host=self._reach.host,
            port=self._reach.port,
            user=username,
            password=password,
            database=self._target.database,
            ssl=context,
            timeout=_FOREVER,
            # A pooler between us and the database may know nothing of statements that are kept.
            statement_cache_size=0,
            server_settings={"application_name": "relayfleet"},
        )

    def _credentials(self) -> tuple[str, str]:
        try:
            username, password = ((self._folder / name).read_text().strip() for name in ("username", "password"))
        except (OSError, UnicodeError) as error:
            raise NotAsked("its credentials are not mounted in this relay yet") from error
        return username, password

    def close(self) -> None:
        """Close the connection at once, whatever it waits for."""
        if self._wire is not None:
            self._wire.close()
        if self._connection is not None:
            self._connection.terminate()
        self._wire = self._connection = None


def _line(error: BaseException) -> str:
    """Its first line: the others are hints for programmers."""
    return (str(error) or type(error).__name__).splitlines()[0][:160]
