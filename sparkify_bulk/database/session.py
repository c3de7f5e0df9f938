"""What a connection's session is set to, whatever role, database, service or environment say.

A setting stands here if a run could fail or go wrong by it, or take far longer. What an
administrator chooses for good reasons, and a run can live with, is left alone: `default_tablespace`
and `temp_tablespaces` say where tables go, `role` who owns them, and the costs of the planner, its
memory and its parallel workers what the server is.
"""

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from sparkify_bulk import statements

# For a query of the user's own: what statements and values mean, and that they can be run at all.
# Its limits are the user's, and so is what the planner is told.
QUERY = {
    "array_nulls": "on",
    "bytea_output": "hex",
    "client_min_messages": "notice",
    "datestyle": "ISO, MDY",
    "default_table_access_method": "heap",
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "exit_on_error": "off",
    "extra_float_digits": "1",
    "intervalstyle": "postgres",
    "quote_all_identifiers": "off",
    "restrict_nonsystem_relation_kind": "",
    "session_replication_role": "origin",
    "standard_conforming_strings": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "transform_null_equals": "off",
}
# For all other commands: they take as long as there is much to do. A run holds a transaction open
# from its beginning to its end; it carries the star's lock, and nothing that others wait for.
COMMAND = QUERY | {
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": "0",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "vacuum_cost_delay": "0",
    "from_collapse_limit": "8",
    "geqo": "on",
    "join_collapse_limit": "8",
    "plan_cache_mode": "auto",
    **{
        f"enable_{way}": "on"
        for way in (
            "bitmapscan", "hashagg", "hashjoin", "indexonlyscan", "indexscan", "material",
            "mergejoin", "nestloop", "seqscan", "sort",
        )
    },
}  # fmt: skip
# For runs: a statement that row-level security would hide rows from fails, rather than miscount.
RUN = COMMAND | {"row_security": "off"}
# Settings of a client's that a pooler follows: it sets them anew in whatever session it lends.
_FOLLOWED = {"datestyle", "standard_conforming_strings", "timezone"}
# Left alone where they do no harm: a role may have no right to set the one, and the other may wait
# for more than it must.
_ONLY_IF_OTHERWISE = {"session_replication_role", "synchronous_commit"}
_ATTEMPTS = 3


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection that is set to what this package relies on, in each of its transactions.

    Attributes:
        is_pooled: a pooler stands between, which lends the same server session to others: nothing
            is set for longer than a transaction.
        refused: settings that this role may not set, with the value they keep.
    """

    is_pooled = False
    refused: Mapping[str, str] = MappingProxyType({})
    _locally: Mapping[str, str] = MappingProxyType({})

    def settle(self, settings: Mapping[str, str]) -> None:
        """Set what the session relies on.

        Raises:
            psycopg.Error: the server refused for another reason than a lack of rights.
        """
        for _ in range(_ATTEMPTS):
            # The limit that is to be lifted may end the statement that lifts it.
            with contextlib.suppress(psycopg.errors.QueryCanceled):
                self._settle(settings)
                return
        self._settle(settings)

    def begin(self) -> None:
        """Begin a transaction that `commit` or `rollback` ends."""
        self.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE NOT DEFERRABLE")
        self._set_locally(self._locally)

    @contextlib.contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        """Open a transaction, or a savepoint in one that is open."""
        is_first = self.info.transaction_status == TransactionStatus.IDLE
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if is_first:
                self._set_locally(self._locally)
            yield transaction

    def _settle(self, settings: Mapping[str, str]) -> None:
        """Set what the server knows and has otherwise; behind a pooler, let transactions set it."""
        names = list(settings)
        parameters = {
            "pid": self.info.backend_pid,
            "names": names,
            "values": list(settings.values()),
        }
        statement = statements.read("session/settle")
        try:
            row = self.execute(statement, parameters).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            # One setting after the other, to see which it is.
            if len(settings) > 1:
                for name, value in settings.items():
                    self._settle({name: value})
            else:
                self._refuse(*settings)
            return
        self.is_pooled, is_standby, known, changed = row or (False, False, [], [])
        if not self.is_pooled:
            return
        # The sessions that a pooler lends may be of different ages, and set differently.
        spared = (_ONLY_IF_OTHERWISE | _FOLLOWED) - set(changed)
        self._settle_pooled({name: settings[name] for name in known if name not in spared})
        # A standby refuses to be told so.
        self.read_only = None if is_standby else False

    def _settle_pooled(self, settings: Mapping[str, str]) -> None:
        """Let each transaction set what the session relies on, and the session what is followed."""
        for name in _FOLLOWED & settings.keys():
            self.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), settings[name]))
        self.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        self.deferrable = False
        locally = {
            name: value for name, value in settings.items()
            if name not in _FOLLOWED and not name.startswith("default_transaction_")
        }  # fmt: skip
        for name in _ONLY_IF_OTHERWISE & locally.keys():
            try:
                with super().transaction(force_rollback=True):
                    self._set_locally({name: locally[name]})
            except psycopg.errors.InsufficientPrivilege:
                del locally[name]
                self._refuse(name)
        self._locally = MappingProxyType(locally)

    def _set_locally(self, settings: Mapping[str, str]) -> None:
        """Set these until the transaction ends.

        By no query: after one, a transaction couldn't be given another isolation any more.
        """
        if settings:
            set_one = sql.SQL("SET LOCAL {} = {}")
            each = (set_one.format(sql.Identifier(n), value) for n, value in settings.items())
            self.execute(sql.SQL("; ").join(each))

    def _refuse(self, name: str) -> None:
        query = "SELECT pg_catalog.current_setting(%s)"
        (value,) = self.execute(query, (name,)).fetchone() or ("",)
        self.refused = MappingProxyType({**self.refused, name: value})
