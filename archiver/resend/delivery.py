"""Jobs of the outbox -> the server, and back into the outbox what became of each recipient."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from time import monotonic, sleep

from msgspec import Struct
from msgspec.structs import replace

from archiver.errors import ArchiverError, ConnectionLostError, RefusedError
from archiver.resend.job import Job
from archiver.resend.retry import next_try
from archiver.smtp import Dsn, Outcome, Session
from archiver.store.user import User

_MINUTE = 60.0
# A group of messages that are reserved together: how many, how long sending it may take (s), how many bytes.
_GROUP = 100
_GROUP_SECONDS = 0.05
_GROUP_BYTES = 4 << 20
# So often a stop is looked for while the server's limit makes us wait (seconds).
_LOOK = 0.5


class MessageReport(Struct, frozen=True):
    """One message: its first original's key, its id in the outbox, what became of each recipient.

    `outcomes` is empty for a message that was not begun (the run was stopped); the outbox has it as queued.
    `asked`: how many recipients it was for. `due`: when those deferred are tried again, Unix seconds.
    """

    key: bytes
    id: int
    message_id: str
    outcomes: tuple[Outcome, ...]
    hint: str | None = None
    asked: int = 0
    due: int | None = None


class Report(Struct, frozen=True):
    """A whole run. `error` is why it ended before its last message, if it did.

    `orphans`: recipients of earlier runs, killed while sending, that are `unknown` from now on.
    """

    messages: tuple[MessageReport, ...]
    error: ArchiverError | None = None
    orphans: int = 0

    @property
    def asked(self) -> int:
        """How many deliveries there were to be: recipients, message by message."""
        return sum(message.asked for message in self.messages)

    def count(self, status: str) -> int:
        """How many recipients of how many messages ended with `status`."""
        return sum(outcome.status == status for message in self.messages for outcome in message.outcomes)

    @property
    def exit_code(self) -> int:
        """0 all sent, 3 some, 75 none and all deferred, 1 none otherwise."""
        sent = self.count("sent")
        if sent:
            return 0 if sent == self.asked else 3
        return 75 if self.asked and self.count("deferred") == self.asked else 1 if self.asked else 0


def deliver(
    jobs: Sequence[Job],
    session_factory: Callable[[], AbstractContextManager[Session]],
    user: User,
    now: Callable[[], datetime],
    *,
    via: str = "",
    per_minute: int = 0,
    fault: Callable[[str], None] = lambda step: None,
    stop: Callable[[], bool] = lambda: False,
    waiting: Callable[[str], None] | None = None,
    done: Callable[[MessageReport], None] = lambda report: None,
    pause: Callable[[float], None] = sleep,
) -> Report:
    """Send what is in the outbox, all through one server; a report, also when nobody took anything.

    Some 4 MB of messages are in memory at a time, or two. via, per_minute: the server's name, and how many
    messages it gets in a minute at most, those of earlier runs counted; 0: no limit. fault: called with a
    name between every two steps, for tests. stop: asked between messages; what is left stays as it is.
    waiting: told who holds the outbox before waiting for it, where `stop` ends it with InterruptedRun. done:
    told each message's report as it ends; what it raises ends the run, and what is left stays queued. pause:
    waits, in seconds.
    """
    with user.sending("resend", _unix(now), waiting=waiting, stop=stop) as orphans:
        fault("locked")
        pace = _Pace(per_minute, user.sent_since(via, _unix(now) - 60) if per_minute else ())
        delivery = _Delivery(jobs, session_factory, user, now, pace, fault, stop, done, pause)
        delivery.run()
    return Report(tuple(delivery.reports[job.id] for job in jobs), delivery.error, orphans)


class _Pace:
    """No more than so many messages in any minute; 0: as many as there are."""

    def __init__(self, per_minute: int, times: Sequence[float]) -> None:
        self.most = per_minute
        self.times = deque(map(float, times), maxlen=per_minute or 1)

    def note(self, now: float) -> None:
        self.times.append(now)

    def wait(self, now: float) -> float:
        """Seconds until the next message may go out."""
        if not self.most or len(self.times) < self.most:
            return 0.0
        return max(self.times[0] + _MINUTE - now, 0.0)


class _Loaded(Struct, frozen=True):
    job: Job
    block: bytes
    data: bytes


class _Delivery:
    """A run over jobs, under the outbox lock, with sessions as needed."""

    def __init__(
        self,
        jobs: Sequence[Job],
        session_factory: Callable[[], AbstractContextManager[Session]],
        user: User,
        now: Callable[[], datetime],
        pace: _Pace,
        fault: Callable[[str], None],
        stop: Callable[[], bool],
        done: Callable[[MessageReport], None],
        pause: Callable[[float], None],
    ) -> None:
        self.left = deque(jobs)
        self.session_factory = session_factory
        self.user = user
        self.now = now
        self.pace = pace
        self.most = 1 if pace.most or not user.boot else _GROUP
        self.fault = fault
        self.stop = stop
        self.done = done
        self.pause = pause
        # Seconds that sending the last message took.
        self.spent = 0.0
        self.error: ArchiverError | None = None
        self.reports = {
            job.id: MessageReport(job.key, job.id, job.message_id, (), None, len(job.to)) for job in jobs
        }

    def run(self) -> None:
        """Send until nothing is left or the server is gone: unreachable, or lost at a first message."""
        while self.left and not self.stop():
            if not self.hold():
                return
            with ExitStack() as stack:
                try:
                    session = stack.enter_context(self.session_factory())
                except ArchiverError as exc:
                    return self.give_up(exc)
                self.fault("connected")
                answered = self.drain(session)
            if self.left and not answered and not self.stop():
                return self.give_up(
                    ConnectionLostError("the server ends every connection", hint="try again later")
                )

    def hold(self) -> bool:
        """Wait, without a connection, as long as the limit asks for; whether to go on then."""
        while wait := self.pace.wait(self.now().timestamp()):
            if self.stop():
                return False
            self.pause(min(wait, _LOOK))
        return True

    def drain(self, session: Session) -> int:
        """Send over this session while it lives; how many messages it outlived.

        Messages are reserved in groups, one transaction each, that are as large as a short time allows: where
        a server is quick, waiting for the disk would take longer than sending.
        """
        answered, size = 0, 1
        reserved: deque[_Loaded] = deque()
        current, to = self.claim(reserved)
        try:
            while current:
                self.fault("sending")
                if fresh := not reserved:
                    # Fetched now, so that one transaction can end this message and reserve the next ones.
                    reserved.extend(self.gather(size))
                message, current = current, None
                outcomes, hint = self.send(session, message, to)
                outcomes, due = self.patience(message.job, outcomes)
                current, to = self.finish(message.job, outcomes, due, reserved, fresh, self.goes_on(session))
                self.report(message.job, outcomes, hint, due)
                answered += session.alive
                self.fault("recorded")
                if not current and reserved and self.goes_on(session):
                    current, to = self.claim(reserved)
                size = max(min(2 * size, int(_GROUP_SECONDS / max(self.spent, 1e-6)), self.most), 1)
        finally:
            # Nothing after a good end; else what no byte of went out.
            self.user.release(
                [current.job.id] if current else [], [each.job.id for each in reserved], _unix(self.now)
            )
            self.left.extendleft(each.job for each in reversed(reserved))
        return answered

    def finish(
        self,
        job: Job,
        outcomes: tuple[Outcome, ...],
        due: int | None,
        reserved: deque[_Loaded],
        fresh: bool,
        goes_on: bool,
    ) -> tuple[_Loaded | None, tuple[str, ...]]:
        """Record a message's outcomes and begin the next one, if somebody is left whom it is for."""
        following = reserved.popleft() if reserved and goes_on else None
        then = (following.job.id, following.block) if following else None
        to = self.user.finish(
            job.id,
            outcomes,
            _unix(self.now),
            due=due,
            then=then,
            reserve=[each.job.id for each in reserved] if fresh and following else (),
            durable=fresh or not following,
        )
        return (following, to) if to else (None, ())

    def claim(self, reserved: deque[_Loaded]) -> tuple[_Loaded | None, tuple[str, ...]]:
        """The next message that still has somebody to go to, begun, and to whom."""
        while loaded := reserved.popleft() if reserved else self.load():
            if to := self.user.begin(loaded.job.id, loaded.block, _unix(self.now)):
                return loaded, to
        return None, ()

    def goes_on(self, session: Session) -> bool:
        return session.alive and not self.stop() and not self.pace.wait(self.now().timestamp())

    def gather(self, size: int) -> list[_Loaded]:
        """The next messages, not yet begun: so many, or as much as may be in memory."""
        found: list[_Loaded] = []
        total = 0
        while len(found) < size and total < _GROUP_BYTES and (loaded := self.load()):
            found.append(loaded)
            total += len(loaded.data)
        return found

    def send(
        self, session: Session, message: _Loaded, to: Sequence[str]
    ) -> tuple[tuple[Outcome, ...], str | None]:
        self.pace.note(self.now().timestamp())
        job, began = message.job, monotonic()
        try:
            data, dsn = message.block + message.data, Dsn(job.recipe.notify, job.message_id)
            return session.send(job.sender, to, data, self.fault, dsn), None
        except ArchiverError as exc:
            return _same_for_all(to, exc), exc.hint
        finally:
            self.spent = monotonic() - began

    def load(self) -> _Loaded | None:
        """The next message whose bytes can be had; one whose bytes cannot has failed."""
        while self.left:
            job = self.left.popleft()
            try:
                block, data = job.load()
            except ArchiverError as exc:
                self.abandon([job], exc)
                continue
            return _Loaded(job, block, data)
        return None

    def patience(self, job: Job, outcomes: tuple[Outcome, ...]) -> tuple[tuple[Outcome, ...], int | None]:
        """When the deferred ones are due again; after too many tries they have failed."""
        due = next_try(_unix(self.now), job.tries + 1)
        if due is None:
            said = f"given up after {job.tries + 1} tries: "
            outcomes = tuple(
                replace(o, status="failed", reply=said + o.reply) if o.status == "deferred" else o
                for o in outcomes
            )
        return outcomes, due if any(o.status == "deferred" for o in outcomes) else None

    def give_up(self, exc: ArchiverError) -> None:
        self.error = exc
        self.abandon(list(self.left), exc)
        self.left.clear()

    def abandon(self, jobs: Sequence[Job], exc: ArchiverError) -> None:
        """What was not begun and will not be, in this run."""
        ended = [(job, *self.patience(job, _same_for_all(job.to, exc))) for job in jobs]
        self.user.settle([(job.id, outcomes, due) for job, outcomes, due in ended], _unix(self.now))
        for job, outcomes, due in ended:
            self.report(job, outcomes, exc.hint, due)

    def report(self, job: Job, outcomes: tuple[Outcome, ...], hint: str | None, due: int | None) -> None:
        ended = MessageReport(job.key, job.id, job.message_id, outcomes, hint, len(job.to), due)
        self.reports[job.id] = ended
        self.done(ended)


def _same_for_all(addresses: Sequence[str], exc: ArchiverError) -> tuple[Outcome, ...]:
    code = exc.code if isinstance(exc, RefusedError) else 0
    reason = str(exc).encode("utf-8", "replace").decode()
    return tuple(
        Outcome(address, "deferred" if exc.transient else "failed", code, reason) for address in addresses
    )


def _unix(now: Callable[[], datetime]) -> int:
    return int(now().timestamp())
