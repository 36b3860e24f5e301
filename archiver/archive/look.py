"""How an archive is verified: what is opened, locked and asked for one look at everything, in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from archiver.config import Account
from archiver.errors import CredentialError, ServerError, UsageError
from archiver.store.ledger import Ledger

if TYPE_CHECKING:
    from archiver.archive import Archive
    from archiver.search.index import Index
    from archiver.verify import Compared, Finding, VerifyReport
    from archiver.verify.run import Hashers

# Below so many bytes, starting processes to hash them costs more than they save.
WORTH_HASHERS = 32 << 20


class Look:
    """Comparisons of an archive, or of the named accounts of it; with `server`, with their servers, too."""

    def __init__(self, archive: Archive, names: Sequence[str] = (), *, server: bool = False) -> None:
        self.archive = archive
        self.names = tuple(names)
        self.server = server

    def once(
        self,
        advance: Callable[[int, int], None] = lambda files, size: None,
        refetch: set[str] | None = None,
    ) -> VerifyReport:
        """Look, and mend what is found when `refetch` is given: it gets the accounts to pull from again.

        Servers are asked first, each under its account's lock alone, so that nothing waits for them.
        """
        compared = self._ask() if self.server else None
        with self._hashers() as hashers, self._everything() as (ledger, index):
            from archiver.archive.repair import repair
            from archiver.verify import verify

            found = verify(
                ledger,
                index,
                self.names,
                compared=compared,
                hashers=hashers,
                advance=advance,
                stop=self.archive.stop,
            )
            if refetch is not None and found.findings:
                refetch |= repair(ledger, index, found.findings)
        return found

    def relink(self, findings: Iterable[Finding]) -> None:
        """Mend with what a pull brought back what had no other copy before it."""
        from archiver.archive.repair import relink

        with self._everything() as (ledger, _):
            relink(ledger, findings)

    def _ask(self) -> Compared:
        """What the accounts' servers have beside what the ledger knows; a connection and a thread each."""
        from archiver.verify import Compared

        accounts = [self.archive.account(name) for name in self.names]
        accounts = accounts or list(self.archive.config.accounts.values())
        if not accounts:
            raise UsageError("no account in the configuration", hint="add one under accounts:")
        whole = Compared()
        with self.archive.ledger(), ThreadPoolExecutor(len(accounts), thread_name_prefix="compare") as pool:
            for part in pool.map(self._ask_one, accounts):
                whole.add(part)
        return whole

    def _ask_one(self, account: Account) -> Compared:
        from archiver.archive.compare import compare_account
        from archiver.verify import Asked, Compared

        compared = Compared(asked=Asked(accounts=1))
        try:
            with (
                self.archive.lock(f"account-{account.name}", "verify", reading=True),
                Ledger(self.archive.root) as ledger,
                self.archive.connect(account, self.archive.stop) as connection,
            ):
                compare_account(account, connection, ledger, compared, stop=self.archive.stop)
        except (ServerError, CredentialError) as exc:
            exc.account = exc.account or account.name
            compared.asked.errors[account.name] = exc
        return compared

    @contextmanager
    def _hashers(self) -> Iterator[Hashers | None]:
        """Processes that hash, started before any lock is taken; none where there is little to hash."""
        with self.archive.ledger() as ledger:
            size = ledger.total_size()
        if size < WORTH_HASHERS:
            yield None
            return
        from archiver.store.hashing import check
        from archiver.workers import Workers, worker_count

        with Workers(check, worker_count(0)) as workers:
            yield workers

    @contextmanager
    def _everything(self) -> Iterator[tuple[Ledger, Index]]:
        """Ledger and index with nobody else writing them: the locks of the accounts and of the index."""
        archive = self.archive
        with archive.ledger() as ledger, archive.index() as index, ExitStack() as locks:
            known = {folder.account for folder in ledger.folders()} | set(archive.config.accounts)
            for name in self.names:
                if name not in known:
                    archive.account(name)
            for name in sorted(self.names or known):
                locks.enter_context(archive.lock(f"account-{name}", "verify", reading=True))
            locks.enter_context(archive.lock("index", "verify", reading=True))
            yield ledger, index
