"""APScheduler jobs, one an account; the one place that sleeps and tries again. No mail logic."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import FrameType
from typing import TYPE_CHECKING, Any

from archiver.archive import Archive
from archiver.archive.status import DAEMON_LOCK
from archiver.config import Account, Config, Schedule
from archiver.config.structs import cron_field
from archiver.errors import ArchiverError, ConfigError, InterruptedRun, UsageError
from archiver.store.locks import lock

if TYPE_CHECKING:
    from archiver.archive.reports import SyncReport

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIRST_RETRY = 60.0
_LAST_RETRY = 3600.0


def retry_delay(failures: int, suggested: float | None = None) -> float:
    """Seconds before trying again after so many failures in a row (1 or more); doubling up to an hour.

    Never sooner than the server suggested.
    """
    return max(min(_FIRST_RETRY * 2.0 ** min(failures - 1, 10), _LAST_RETRY), suggested or 0.0)


def trigger(schedule: Schedule) -> Any:
    """The APScheduler trigger of a schedule; a tenth of the interval, at most a minute, of jitter."""
    from apscheduler.triggers.combining import OrTrigger
    from apscheduler.triggers.cron import CronTrigger
    from apscheduler.triggers.interval import IntervalTrigger

    if schedule.every is not None:
        return IntervalTrigger(seconds=schedule.every, jitter=min(schedule.every / 10, 60))
    minute, hour, day, month, weekday = (schedule.cron or "").split()
    fields = {"minute": _numbers(minute, 0), "hour": _numbers(hour, 1), "month": _numbers(month, 3)}
    # APScheduler counts weekdays from Monday, crontab(5) from Sunday: names mean the same to both.
    names = ",".join(_WEEKDAYS[n] for n in sorted(cron_field(weekday, 4) or ()))
    if day != "*" and weekday != "*":
        # crontab(5): when both are restricted, either is enough.
        return OrTrigger(
            [CronTrigger(**fields, day=_numbers(day, 2)), CronTrigger(**fields, day_of_week=names)]
        )
    return CronTrigger(**fields, day=_numbers(day, 2), day_of_week=names)


def _numbers(text: str, position: int) -> str:
    return ",".join(str(n) for n in sorted(cron_field(text, position) or ()))


class Daemon:
    """Runs the schedule of one archive. `load` reads the configuration again, `log` takes lines."""

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        log: Callable[[str], None],
        stopped: Callable[[], bool],
    ) -> None:
        self.config = config
        self._load = load
        self._log = log
        self._stopped = stopped
        self._wake = threading.Event()
        self._reload = False
        self._failures: dict[str, int] = {}
        self._scheduler: Any = None

    def wake(self) -> None:
        """Something changed: look at `stopped` and at reload requests. For signal handlers."""
        self._wake.set()

    @contextmanager
    def reloaded_by_signal(self) -> Iterator[None]:
        def handle(number: int, frame: FrameType | None) -> None:
            self._reload = True
            self._wake.set()

        before = signal.signal(signal.SIGHUP, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)

    def run(self) -> None:
        """Until `stopped`: each account on its schedule. LockedError when another one runs already."""
        from apscheduler.executors.pool import ThreadPoolExecutor
        from apscheduler.schedulers.background import BackgroundScheduler

        with lock(self.config.archive, DAEMON_LOCK, "run", wait=False):
            self._scheduler = BackgroundScheduler(
                executors={"default": ThreadPoolExecutor(max(len(self.config.accounts), 4))},
                job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            )
            self._plan(first=True)
            self._scheduler.start()
            self._publish()
            try:
                self._wait()
            finally:
                self._log("stopping")
                self._scheduler.shutdown(wait=True)
                self._clear()
                self._log("stopped")

    def _wait(self) -> None:
        while not self._stopped():
            self._wake.wait()
            self._wake.clear()
            if self._reload:
                self._reload = False
                self._read_again()

    def _read_again(self) -> None:
        try:
            config = self._load()
        except ConfigError as exc:
            self._log(f"the configuration stays as it was: {exc}")
            for problem in exc.problems:
                self._log(f"  {problem}")
            return
        if config.archive != self.config.archive:
            self._log("the archive cannot be moved while running; the configuration stays as it was")
            return
        before, self.config = self.config, config
        self._plan(first=False, before=before)
        self._publish()
        self._log("configuration read again")

    def _plan(self, *, first: bool, before: Config | None = None) -> None:
        """A job for each account with a schedule; jobs whose schedule did not change keep their time."""
        scheduled = {name: a for name, a in self.config.accounts.items() if a.schedule}
        if first and not scheduled:
            raise UsageError(
                "no account has a schedule", hint="add schedule: {every: 15m} to one, or use archiver sync"
            )
        old = before.accounts if before else {}
        for name in old.keys() - scheduled.keys():
            self._remove(name)
        due = self._due(scheduled) if first else {}
        for name, account in scheduled.items():
            if name in old and old[name].schedule == account.schedule:
                continue
            self._add(account, due.get(name))

    def _add(self, account: Account, due: datetime | None) -> None:
        assert account.schedule is not None
        self._remove(account.name)
        when = {"next_run_time": due} if due else {}
        made = trigger(account.schedule)
        self._scheduler.add_job(self._job, made, args=[account.name], id=account.name, **when)
        self._log(f"{account.name}: scheduled {account.schedule.cron or f'every {account.schedule.every}'}")

    def _remove(self, name: str) -> None:
        for job in (name, f"{name} again"):
            if self._scheduler.get_job(job):
                self._scheduler.remove_job(job)

    def _due(self, accounts: dict[str, Account]) -> dict[str, datetime]:
        """When interval jobs first run: as long after the last good run as the interval says, or now."""
        with Archive(self.config, say=self._log).ledger() as ledger:
            last = {row.name: row.succeeded for row in ledger.accounts()}
        now = time.time()
        due = {}
        for name, account in accounts.items():
            if account.schedule and account.schedule.every is not None:
                at = max((last.get(name) or 0) + account.schedule.every, now + random.uniform(0, 1))
                due[name] = datetime.fromtimestamp(min(at, now + account.schedule.every)).astimezone()
        return due

    def _job(self, name: str) -> None:
        """Sync one account; a transient failure is tried again sooner than the schedule says."""
        archive = Archive(self.config, say=lambda text: self._log(f"{name}: {text}"), stop=self._stopped)
        try:
            report = archive.sync([name])
        except InterruptedRun:
            self._log(f"{name}: stopped after the batch in hand")
            return
        except ArchiverError as exc:
            self._failed(name, exc)
        else:
            if name in report.errors:
                self._failed(name, report.errors[name])
            else:
                self._failures.pop(name, None)
                self._log(_line(name, report))
        self._publish()

    def _failed(self, name: str, exc: ArchiverError) -> None:
        self._log(f"{name}: {exc.message}{f' ({exc.hint})' if exc.hint else ''}")
        if not exc.transient or self._stopped():
            return
        self._failures[name] = self._failures.get(name, 0) + 1
        delay = retry_delay(self._failures[name], getattr(exc, "wait", None) or 0)
        delay *= random.uniform(1.0, 1.2)
        at = datetime.now().astimezone() + timedelta(seconds=delay)
        job = self._scheduler.get_job(name)
        if job and job.next_run_time and job.next_run_time <= at:
            return
        self._scheduler.add_job(
            self._job, "date", run_date=at, args=[name], id=f"{name} again", replace_existing=True
        )
        self._log(f"{name}: trying again in {delay:.0f} s")

    def _publish(self) -> None:
        """Write down when each account runs next, for `archiver status`."""
        times: dict[str, float] = {}
        for job in self._scheduler.get_jobs():
            name = job.args[0]
            if job.next_run_time:
                at = job.next_run_time.timestamp()
                times[name] = min(at, times.get(name, at))
        self._note(times)

    def _clear(self) -> None:
        self._note({})

    def _note(self, times: dict[str, float]) -> None:
        with Archive(self.config).ledger() as ledger:
            for name in self.config.accounts:
                ledger.schedule(name, times.get(name))


def _line(name: str, report: SyncReport) -> str:
    account = report.accounts[0]
    stored, failed = account.total("stored"), account.total("waiting")
    parts = [f"{stored} new" if stored else "nothing new"]
    if failed:
        parts.append(f"{failed} to be tried again")
    parts += [f"{folder.folder}: {folder.error}" for folder in account.folders if folder.error]
    return f"{name}: {', '.join(parts)}"
