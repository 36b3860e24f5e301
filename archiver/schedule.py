"""APScheduler jobs, one an account; the one place that sleeps and tries again. No mail logic."""

from __future__ import annotations

import glob
import itertools
import logging
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta, tzinfo
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any

from archiver.archive import Archive
from archiver.archive.status import DAEMON_LOCK
from archiver.config import Account, Config, Schedule
from archiver.config.structs import cron_field
from archiver.errors import ArchiverError, ConfigError, InterruptedRun, LockedError, UsageError
from archiver.push import Demand, Listeners
from archiver.store.locks import holder, lock

if TYPE_CHECKING:
    from archiver.archive.reports import SyncReport
    from archiver.resend import Report

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIRST_RETRY = 60.0
_LAST_RETRY = 3600.0
# Seconds between the beginnings of two pulls that a server asked for: each is a login.
_BREATH = 1.0
_HEAD_START = 5.0
# So often (seconds) a signal is looked for that woke nobody.
_LOOK = 1.0
# The job that tidies up the index; no account is called so.
_TIDY = "the index/tidy"
# The one that sends what is due in the outbox, and how often it looks (seconds).
_OUTBOX = "the outbox/send"
_OUTBOX_EVERY = 5


def retry_delay(failures: int, suggested: float | None = None) -> float:
    """Seconds before trying again after so many failures in a row (1 or more); doubling up to an hour.

    Never sooner than the server suggested.
    """
    return max(min(_FIRST_RETRY * 2.0 ** min(failures - 1, 10), _LAST_RETRY), suggested or 0.0)


def trigger(schedule: Schedule, zone: tzinfo | None = None) -> Any:
    """The APScheduler trigger of a schedule; a tenth of the interval, at most a minute, of jitter.

    `zone` is the one cron fields are meant in; the machine's by default.
    """
    from apscheduler.triggers.combining import OrTrigger
    from apscheduler.triggers.cron import CronTrigger
    from apscheduler.triggers.interval import IntervalTrigger

    if schedule.every is not None:
        return IntervalTrigger(seconds=schedule.every, jitter=min(schedule.every / 10, 60), timezone=zone)
    minute, hour, day, month, weekday = (schedule.cron or "").split()
    fields = {"minute": _numbers(minute, 0), "hour": _numbers(hour, 1), "month": _numbers(month, 3)}
    fields["timezone"] = zone
    days = {"day": _numbers(day, 2)}
    # APScheduler counts weekdays from Monday, crontab(5) from Sunday: names mean the same to both.
    weekdays = {"day_of_week": ",".join(_WEEKDAYS[n] for n in sorted(cron_field(weekday, 4) or ()))}
    if "*" not in day and "*" not in weekday:
        # crontab(5): when both are restricted, either is enough.
        return OrTrigger([CronTrigger(**fields, **days), CronTrigger(**fields, **weekdays)])
    return CronTrigger(**fields, **days, **weekdays)


def _numbers(text: str, position: int) -> Any:
    return ",".join(str(n) for n in sorted(cron_field(text, position) or ()))


class Daemon:
    """Runs the schedule of one archive. `load` reads the configuration again, `log` takes lines.

    `delay` is as `retry_delay`. With `debug`, the traceback of an unexpected exception is logged too.
    """

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        log: Callable[[str], None],
        stopped: Callable[[], bool],
        *,
        delay: Callable[[int, float | None], float] = retry_delay,
        debug: bool = False,
    ) -> None:
        self.config = config
        self._load = load
        self._log = log
        self._stopped = stopped
        self._delay = delay
        self._debug = debug
        # Of all that wakes a thread, only this may be used in a handler that interrupts it.
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._reload = False
        self._failures: dict[str, int] = {}
        # Accounts whose server asked for patience.
        self._patience: set[str] = set()
        self._demands: dict[str, Demand] = {}
        self._listeners = Listeners(config.archive, self._wanted, log, self._listener_crashed)
        self._began: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self._scheduler: Any = None
        self._threads: Any = None

    def wake(self) -> None:
        """Something changed: look at `stopped` and at reload requests. For signal handlers."""
        self._wakes.put(None)

    def reload(self) -> None:
        """Read the configuration again, soon. For signal handlers."""
        self._reload = True
        self.wake()

    @contextmanager
    def reloaded_by_signal(self) -> Iterator[None]:
        def handle(number: int, frame: FrameType | None) -> None:
            self.reload()

        before = signal.signal(signal.SIGHUP, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)

    def run(self) -> None:
        """Until `stopped`: each account on its schedule. LockedError when another one runs already."""
        with self._alone():
            self._scheduler = self._make_scheduler()
            self._plan({})
            self._watch_outbox()
            self._scheduler.start()
            self._listeners.follow(Archive(self.config, say=self._log), {})
            self._publish()
            try:
                self._wait()
            finally:
                self._log("stopping")
                self._shut_down()
                self._log("stopped")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        root = self.config.archive
        with ExitStack() as stack:
            try:
                stack.enter_context(lock(root, DAEMON_LOCK, "run", wait=False))
            except LockedError as exc:
                raise LockedError(
                    f"another archiver has this archive on schedule: {holder(root, DAEMON_LOCK)}",
                    hint="stop that one first; it reads a changed configuration on SIGHUP",
                ) from exc
            yield

    def _shut_down(self) -> None:
        """Wait for the runs under way. The scheduler's own waiting holds a lock that they need to end."""
        self._listeners.stop()
        # Stopped in the middle of a look at its jobs it would miss those that it is to remove.
        self._scheduler.pause()
        self._scheduler.get_jobs()  # waits for the end of that look
        self._scheduler.shutdown(wait=False)
        self._threads.shutdown(wait=True)
        self._note({})

    def _make_scheduler(self) -> Any:
        from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES
        from apscheduler.executors.pool import ThreadPoolExecutor
        from apscheduler.schedulers.background import BackgroundScheduler

        # What it would say is said below, in a line of our log each.
        logging.getLogger("apscheduler").addHandler(logging.NullHandler())
        self._threads = ThreadPoolExecutor(max(len(self.config.accounts), 16))
        options = {
            "executors": {"default": self._threads},
            "job_defaults": {"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        }
        try:
            made = BackgroundScheduler(**options)
        except LookupError:
            zone = datetime.now().astimezone().tzinfo
            self._log(f"TZ names no time zone; taking {zone} without daylight saving")
            made = BackgroundScheduler(**options, timezone=zone)
        made.add_listener(self._crashed, EVENT_JOB_ERROR)
        made.add_listener(self._skipped, EVENT_JOB_MAX_INSTANCES)
        return made

    def _wait(self) -> None:
        while not self._stopped():
            # A signal may be handed to another thread than this one, and then wakes nobody.
            with suppress(Empty):
                self._wakes.get(timeout=_LOOK)
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
        try:
            self._plan(before.accounts)
        except ArchiverError as exc:
            self.config = before
            self._log(f"the configuration stays as it was: {exc}")
            return
        self._listeners.follow(Archive(self.config, say=self._log), before.accounts)
        self._publish()
        self._log("configuration read again")

    def _plan(self, before: Mapping[str, Account]) -> None:
        """A job for each account with a schedule; jobs whose schedule did not change keep their time."""
        scheduled = {name: a for name, a in self.config.accounts.items() if a.schedule}
        if not before and not scheduled:
            raise UsageError(
                "no account has a schedule", hint="add schedule: {every: 15m} to one, or use archiver sync"
            )
        changed = {
            name: a
            for name, a in scheduled.items()
            if name not in before or before[name].schedule != a.schedule
        }
        for name in scheduled:
            self._demands.setdefault(name, Demand())
        due = self._due(changed)
        for name in (before.keys() - scheduled.keys()) | changed.keys():
            if self._scheduler.get_job(name):
                self._scheduler.remove_job(name)
        for name, account in changed.items():
            self._add(account, due.get(name))

    def _add(self, account: Account, due: datetime | None) -> None:
        assert account.schedule is not None
        made = trigger(account.schedule, self._scheduler.timezone)
        due = due or made.get_next_fire_time(None, datetime.now().astimezone())
        when = f"first on {due:%Y-%m-%d %H:%M:%S}" if due else "which never comes"
        how = account.schedule.cron or f"every {account.schedule.every}"
        self._log(f"{account.name}: {'push, and ' if account.schedule.push else ''}{how}, {when}")
        if due:
            self._scheduler.add_job(self._job, made, args=[account.name], id=account.name, next_run_time=due)

    def _due(self, accounts: Mapping[str, Account]) -> dict[str, datetime]:
        """When interval jobs first run: as long after the last good run as the interval says, or now."""
        with Archive(self.config, say=self._log).ledger(make=True) as ledger:
            last = {row.name: row.succeeded for row in ledger.accounts()}
        now = time.time()
        due = {}
        for name, account in accounts.items():
            if account.schedule and account.schedule.every is not None:
                # With push the word to pull comes with the connection: this turn is for when there is none.
                soon = now + random.uniform(0, 1) + (_HEAD_START if account.schedule.push else 0)
                at = max((last.get(name) or 0) + account.schedule.every, soon)
                due[name] = datetime.fromtimestamp(min(at, now + account.schedule.every)).astimezone()
        return due

    def _job(self, name: str) -> None:
        """An account's turn on schedule."""
        if self._demands[name].ask():
            self._meet(name)
        self._publish()

    def _wanted(self, name: str, folders: tuple[str, ...]) -> None:
        """The server says that there is something to pull."""
        if name in self._failures and (folders or name in self._patience):
            return  # what failed is tried again when it is due, and as a whole
        if self._demands[name].ask(folders):
            self._arrange(name)

    def _arrange(self, name: str) -> None:
        """Meet a demand soon, with a breath between the beginnings of two pulls."""
        from apscheduler.triggers.date import DateTrigger

        wait = max(self._began.get(name, float("-inf")) + _BREATH - time.monotonic(), 0)
        at = DateTrigger(datetime.now().astimezone() + timedelta(seconds=wait))
        self._scheduler.add_job(self._meet, at, args=[name], id=f"{name}/{next(self._numbers)}")

    def _meet(self, name: str) -> None:
        """Pull what is demanded, unless that is being done."""
        folders = self._demands[name].begin()
        if folders is None:
            return
        self._began[name] = time.monotonic()
        try:
            if name in self.config.accounts:
                self._sync(name, folders)
        finally:
            if self._demands[name].end():
                self._arrange(name)

    def _sync(self, name: str, folders: tuple[str, ...]) -> None:
        """Sync one account; a transient failure is tried again sooner than the schedule says."""
        archive = Archive(self.config, say=lambda text: self._log(f"{name}: {text}"), stop=self._stopped)
        try:
            only = [glob.escape(folder) for folder in folders]
            report = archive.sync([name], folders=only, tidy=False, taken=self._listeners.taken(name))
            if name in report.errors:
                raise report.errors[name]
        except InterruptedRun:
            self._log(f"{name}: stopped after the batch in hand")
            return
        except ArchiverError as exc:
            self._failed(name, exc)
        else:
            self._failures.pop(name, None)
            self._patience.discard(name)
            line = _line(name, report)
            # What was only flags, or a word too many, is not worth a line each time.
            if not folders or line != f"{name}: nothing new":
                self._log(line)
            if report.index and report.index.added:
                self._arrange_tidying()

    def _arrange_tidying(self) -> None:
        """Tidy up the index soon, beside the pulls: it may take minutes."""
        from apscheduler.triggers.date import DateTrigger

        self._scheduler.add_job(self._tidy, DateTrigger(), id=_TIDY, replace_existing=True)

    def _tidy(self) -> None:
        try:
            Archive(self.config, say=self._log, stop=self._stopped).tidy_index()
        except ArchiverError as exc:
            # The next time mail is indexed, it will be met again there.
            self._log(f"the index cannot be tidied up: {exc.message}")

    def _watch_outbox(self) -> None:
        """Send what is due in the outbox: queued for us, or deferred. Whoever queues it need not tell us."""
        from apscheduler.triggers.interval import IntervalTrigger

        every = IntervalTrigger(seconds=_OUTBOX_EVERY, timezone=self._scheduler.timezone)
        now = datetime.now().astimezone()
        self._scheduler.add_job(self._send, every, id=_OUTBOX, next_run_time=now)

    def _send(self) -> None:
        if not self.config.smtp:
            return
        try:
            report = Archive(self.config, say=self._log, stop=self._stopped).send_due()
        except InterruptedRun:
            return
        except ArchiverError as exc:
            self._log(f"the outbox cannot be sent: {exc.message}")
            return
        if report.messages:
            self._log(_sent(report))

    def _failed(self, name: str, exc: ArchiverError) -> None:
        self._log(f"{name}: {exc.message}{f' ({exc.hint})' if exc.hint else ''}")
        if not exc.transient or self._stopped():
            return
        self._failures[name] = self._failures.get(name, 0) + 1
        suggested = getattr(exc, "wait", None)
        (self._patience.add if suggested else self._patience.discard)(name)
        delay = self._delay(self._failures[name], suggested) * random.uniform(1.0, 1.2)
        at = datetime.now().astimezone() + timedelta(seconds=delay)
        job = self._scheduler.get_job(name)
        # The next turn may be sooner than that; then it will do, unless the server asked for patience.
        if job and (suggested or job.next_run_time > at):
            job.modify(next_run_time=at)
            self._log(f"{name}: trying again in {delay:.0f} s")
            self._publish()

    def _crashed(self, event: Any) -> None:
        """A bug, or a machine in trouble, ended a job; the next turn comes all the same."""
        self._log(f"{_account(event.job_id)}: internal error ({type(event.exception).__name__})")
        for line in event.traceback.splitlines() if self._debug else ():
            self._log(line)
        self._publish()

    def _listener_crashed(self, name: str, exc: BaseException) -> None:
        self._log(f"{name}: internal error ({type(exc).__name__}) while listening")
        for line in traceback.format_exception(exc) if self._debug else ():
            self._log(line.rstrip())

    def _skipped(self, event: Any) -> None:
        if event.job_id in (_TIDY, _OUTBOX):
            return  # the one that goes on looks again before it ends, or soon
        self._log(f"{event.job_id}: the last run still goes on, so this turn is skipped")

    def _publish(self) -> None:
        """Write down when each account runs next, for `archiver status`."""
        self._note(
            {
                job.id: job.next_run_time.timestamp()
                for job in self._scheduler.get_jobs()
                if job.next_run_time and job.id == _account(job.id)
            }
        )

    def _note(self, times: Mapping[str, float]) -> None:
        try:
            with Archive(self.config).ledger(make=True) as ledger:
                for name in self.config.accounts:
                    ledger.schedule(name, times.get(name))
        except ArchiverError as exc:
            self._log(f"the next runs cannot be noted: {exc.message}")


def _account(job_id: str) -> str:
    """Whose job it is: an account's own, or one of those arranged for it, NAME/1 and so on."""
    return job_id.partition("/")[0]


def _sent(report: Report) -> str:
    counts = [(report.count(status), status) for status in ("sent", "deferred", "failed", "unknown")]
    said = ", ".join(f"{number} {status}" for number, status in counts if number) or "nothing begun"
    return f"the outbox: {said}{f' ({report.error.message})' if report.error else ''}"


def _line(name: str, report: SyncReport) -> str:
    account = report.accounts[0]
    stored, waiting = account.total("stored"), account.total("waiting")
    parts = [f"{stored} new" if stored else "nothing new"]
    if waiting:
        parts.append(f"{waiting} to be tried again")
    if report.index and (unread := report.index.attachments.unread):
        parts.append(f"{len(unread)} attachments without text")
    parts += [f"{folder.folder}: {folder.error}" for folder in account.folders if folder.error]
    return f"{name}: {', '.join(parts)}"
