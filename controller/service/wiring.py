"""The composition root: makes every part from the settings and connects them. The demo uses the same code with other settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from controller.catalog.files import FileCatalog
from controller.clients.aws import AwsClients
from controller.clients.kube import KubeSession, Object
from controller.clock import Clock, Steps, SystemClock
from controller.errors import RemoteError
from controller.mode_changes_first import ModeChangesFirst
from controller.notifiers.after_mode_changes import AfterModeChanges
from controller.notifiers.cloudwatch import CloudWatchNotifier
from controller.notifiers.dispatcher import Dispatcher
from controller.notifiers.events import EventNotifier, Involved
from controller.notifiers.redact import DEFAULT as REDACTOR
from controller.notifiers.runbooks import Context
from controller.objects import text
from controller.policy.alert_kinds import AlertKind
from controller.policy.model import Alert
from controller.ports import Message, MessageKind, Notifier, Severity
from controller.routing.kinds import DEFAULT, routing_port
from controller.service.application_objects import CatalogChange, ObjectCatalog
from controller.service.controller import WORKERS, Controller
from controller.service.election import Timing
from controller.service.executor import Executor
from controller.service.http import Answer, HttpServer, Query, make_routes
from controller.service.kube_applier import KubeApplier
from controller.service.leadership import Elected, LeaseLeadership, SingleReplica
from controller.service.listed_store import ListedStore
from controller.service.messages import leadership, overloaded
from controller.service.object_status import StatusWriter
from controller.service.page import HEADERS, Process, page
from controller.service.pollers import VERIFICATION_S, make_external
from controller.service.recorder import make_recorder
from controller.service.status import PUBLISH_S, StatusPublisher, document, process
from controller.service.store import ConfigMapStore, ReadOnlyStore
from controller.service.telemetry import Telemetry
from controller.settings import Settings, SlackSettings
from controller.signals.cluster import ClusterView
from controller.signals.observer import ClusterObserver
from controller.signals.watches import Watches

_PAGE_DIGITS: Final = 6  # of the number of a page
_STALLED_INTERVALS: Final = 3  # the process is restarted after that many intervals without a finished round
_LAST_WRITES_S: Final = 10.0  # one action and one save, with their deadlines and the confirmation of leadership before each
_LAST_MESSAGES_S: Final = 2.0  # even if the passes took all of the grace time: one attempt of each sink
SHUTDOWN_GRACE_S: Final = 20.0
"""Time after SIGTERM to finish the passes and send queued messages, seconds; the pod's grace period is longer."""
_STATUS_INTERVAL_S: Final = 5.0
_CATALOG_S: Final = 5.0  # between two checks for changed applications
_PUBLISH_S: Final = 60.0  # the resolution of CloudWatch; a period in which nothing is published would end an alarm
_FIRST_PASS_S: Final = 0.005  # of each application after a takeover: twice what docs/laboratory/benchmarks.md measures
_LEFT_OUT: Final = "the applications without a fault run, and nothing controls the others"
_JOB_OPTIONS: Final = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}

log = structlog.get_logger(__name__)


class Service:
    """The running controller.

    Args:
        settings: The settings.
        session: Connection to the API server.
        clock: The clock.
        dry_run: Whether to make plans only, without writing anything.
        tap: Called after every pass, for displays; must not block.
        extra_sinks: Further sinks of messages.
    """

    def __init__(
        self,
        settings: Settings,
        session: KubeSession,
        clock: Clock,
        *,
        dry_run: bool = False,
        tap: Callable[[Controller], None] | None = None,
        extra_sinks: tuple[Notifier, ...] = (),
    ) -> None:
        self._settings, self._session, self._clock, self._dry_run = settings, session, clock, dry_run
        self._stop, self._wake = threading.Event(), threading.Event()
        self._publishing = threading.Lock()
        self._clients = AwsClients(settings.aws.region, session.meter)
        self.view = ClusterView(clock, self._wake.set)
        self._telemetry = Telemetry(session.meter, units=settings.http.unit_metrics, kept=self.view.kept)
        kube = settings.kubernetes
        installation = "" if dry_run else kube.state_namespace
        self._leadership = self._make_leadership()
        self._lost = False  # whether people were notified that this replica lost the Lease and no other holder was seen
        self._overloaded = False  # whether people were notified that the budget of ELBv2 calls is too small
        self._untold = False  # whether people are still to be notified of the applications that the start left out
        self._watches = Watches(session, self.view, clock, cluster_wide=kube.cluster_wide)
        self._external = make_external(
            settings, self.view, clock, self._clients, self._stop, busy=self._others_wait, installation=installation
        )
        self._cloudwatch = self._cloudwatch_notifier()
        self._dispatcher = None if dry_run else self._make_dispatcher(extra_sinks)
        store = ListedStore(ConfigMapStore(session, kube.state_namespace), self._leadership, clock)
        self._recorder = make_recorder(settings.recording, clock, self._telemetry)
        self._observer = ClusterObserver(
            self.view,
            self._external,
            self._watches.health,
            clock,
            also=self._recorder.sources if self._recorder is not None else None,
            installation=installation,
        )
        self._executor = None if dry_run else Executor(KubeApplier(session, self.view.wrote), self._leadership, plans=WORKERS)
        self.controller = Controller(
            self.view,
            self._observer,
            ReadOnlyStore(store) if dry_run else store,
            self._executor,
            self._leadership,
            self._dispatcher,
            self._telemetry,
            clock,
            interval_s=settings.polls.tick_interval_s,
            recorder=self._recorder,
            meter=session.meter,
            workers=WORKERS,
            wake=self._wake.set,
            tap=tap,
        )
        files = settings.applications
        self._catalog = ObjectCatalog(session, clock) if files is None else FileCatalog(files)
        self._objects = self._catalog if isinstance(self._catalog, ObjectCatalog) else None
        self._publisher = None if dry_run else StatusPublisher(session, kube.state_namespace, clock)
        self._object_status = None if dry_run or self._objects is None else StatusWriter(session, clock)
        self._scheduler = BackgroundScheduler(timezone="UTC")
        self._steps = Steps(SystemClock())  # of the clock by which the scheduler runs
        self._http = HttpServer(
            make_routes(self._telemetry.registry, healthy=self._healthy, ready=self._ready, status=self.status, page=self._page),
            settings.http.host,
            settings.http.port,
        )

    @property
    def http_port(self) -> int:
        """The port that the HTTP endpoint listens on."""
        return self._http.port

    # --- parts --------------------------------------------------------------------------------------------------------------------------

    def _make_leadership(self) -> Elected:
        if self._dry_run or not self._settings.leader_election.enabled:
            return SingleReplica(self._clock)
        return LeaseLeadership(self._session, self._settings.kubernetes.state_namespace, Timing(), self._clock, self._leadership_changed)

    def _cloudwatch_notifier(self) -> CloudWatchNotifier | None:
        return None if self._dry_run else cloudwatch_sink(self._settings, self._clients, self._clock)

    def _make_dispatcher(self, extra: tuple[Notifier, ...]) -> Dispatcher:
        common = self._settings.notifications
        first = ModeChangesFirst(self._others_wait, self._clock)
        events = AfterModeChanges(EventNotifier(self._session, self._clock, self._involved), first)
        sinks = [events, *extra, *outer_sinks(self._settings, self._clients)]
        if self._cloudwatch is not None:
            sinks.append(self._cloudwatch)
        return Dispatcher(sinks, self._clock, complete=Context(common.cluster, common.runbooks).complete)

    def _others_wait(self) -> bool:
        return self.controller.others_wait()

    def _involved(self, application: str) -> Involved:
        known = next((one for one in self.controller.applications() if one.key == application), None)
        resource = (DEFAULT if known is None else routing_port(known)).resource
        namespace, _, name = application.partition("/")
        # A routing object that does not exist is itself worth an event: `kubectl get events` shows it.
        obj = None if known is None else self.view.routing_object(known)
        return Involved(resource, namespace, name, text(obj, "metadata", "uid"), text(obj, "metadata", "resourceVersion"))

    # --- health -------------------------------------------------------------------------------------------------------------------------

    def _healthy(self) -> str:
        if problem := self._leadership.problem():
            return problem
        return self.controller.problem(_STALLED_INTERVALS * self._settings.polls.tick_interval_s)

    def _ready(self) -> str:
        """Why this replica is not ready, "" if it is. One that lacks applications acts for the rest, but must not replace one with all."""
        if self._catalog.partial:
            return "an application has a fault and is left out: `failoverctl status` and the log name it"
        return self._unprepared()

    def _unprepared(self) -> str:
        """What decisions lack, "" if nothing."""
        applications = self.controller.applications()
        if not applications and (missing := self._catalog.missing):
            return missing
        if refusal := self._leadership.refusal():
            return f"cannot take part in the election: {refusal}"
        stale = self._observer.stale(applications)
        return f"no fresh data from {', '.join(stale)}" if stale else ""

    def status(self) -> Object:
        """The status document."""
        return document(self.controller.views(), self._about())

    def _about(self) -> Object:
        return process(
            self._dispatcher.health() if self._dispatcher is not None else (),
            now=self._clock.now(),
            epoch=self._leadership.epoch(),
            leader=self._leadership.leader(),
            dry_run=self._dry_run,
            config_error=self._catalog.error,
            calls=self._session.meter.totals(),
        )

    def _page(self, query: Query) -> Answer:
        """The page; a number that is none means the first."""
        process = Process(
            now=self._clock.now(),
            leader=self._leadership.leader(),
            leads=self._leadership.leads(),
            epoch=self._leadership.epoch(),
            round_age_s=self.controller.round_age_s(),
            dry_run=self._dry_run,
            config_error=self._catalog.error,
            sinks=self._dispatcher.health() if self._dispatcher is not None else (),
            calls=self._session.meter.totals(),
            runbooks=self._settings.notifications.runbooks,
        )
        number = query.get("page", "")
        made = page(
            self.controller.views(),
            process,
            wanted=query.get("application", ""),
            number=int(number) if number.isascii() and number.isdigit() and len(number) <= _PAGE_DIGITS else 1,
        )
        return Answer(made.encode(), "text/html; charset=utf-8", headers=HEADERS)

    # --- life ---------------------------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Asks the service to stop; safe to call from a signal handler."""
        self._stop.set()
        self._wake.set()

    def run(self) -> None:
        """Runs until `stop` is called. Work in progress is finished, and queued messages are delivered within the grace time.

        Raises:
            ConfigError: It is given application files, and one has a fault.
        """
        applications = self._catalog.start()
        self._untold = bool(self._catalog.error)
        self._telemetry.config_ok.set(not self._untold)
        if self._untold:
            log.warning("config.refused", error=self._catalog.error)
        self.controller.configure(applications)
        self._watches.ensure(applications.values())
        if self._recorder is not None:
            self._recorder.start()
        self._schedule_jobs()
        self._http.start()
        self._telemetry.leader.set(self._leadership.leads())
        self._leadership.start()
        self._tell_of_refused()
        log.info("service.started", applications=sorted(applications), dry_run=self._dry_run)
        try:
            self._await_first_lists()
            self.controller.start()
            self._loop()
        finally:
            self._shut_down()

    def _await_first_lists(self) -> None:
        """Waits for the first lists, at most one interval: decisions without them would only raise alerts that resolve themselves."""
        end = self._clock.monotonic() + self._settings.polls.tick_interval_s
        while self._unprepared() and not self._stop.is_set() and self._clock.monotonic() < end:
            self._wake.clear()
            self._clock.wait(self._wake, 0.2)

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            wait = self.controller.run_due()
            self._follow_clock()
            if not self._stop.is_set():  # a stop that came between the two had its wake-up cleared
                self._clock.wait(self._wake, wait)

    def _follow_clock(self) -> None:
        """Runs every job now if the machine's clock was set. Where it was set back, the scheduler would wait for as long as that."""
        seconds = self._steps.taken()
        if not seconds:
            return
        log.warning("scheduler.clock_stepped", seconds=round(seconds, 1))
        for job in self._scheduler.get_jobs():
            self._scheduler.modify_job(job.id, next_run_time=_real_now())

    def _shut_down(self) -> None:
        log.info("service.stopping")
        end = self._clock.monotonic() + SHUTDOWN_GRACE_S
        # A scheduler that stops while it starts a job raises in its own thread: let it finish first (`get_jobs` waits for its lock).
        self._scheduler.pause()
        self._scheduler.get_jobs()
        self._scheduler.shutdown(wait=False)
        self._end_passes()
        if self._objects is not None:
            self._objects.stop()
        self._watches.stop()
        if self._recorder is not None:
            self._recorder.close()
        if self._dispatcher is not None:
            undelivered = self._dispatcher.close(max(_LAST_MESSAGES_S, end - self._clock.monotonic()))
            if undelivered:
                log.warning("messages.undelivered", count=undelivered)
        self._http.stop()
        log.info("service.stopped")

    def _end_passes(self) -> None:
        """Leaves the election once this replica's last write has ended: another may lead. If one does not end, the Lease expires."""
        if self._executor is not None:
            self._executor.stop()
        if not self.controller.close(_LAST_WRITES_S):
            log.warning("service.passes_unfinished")
            return
        with self._publishing:
            self._leadership.stop()
        if self._executor is not None:
            self._executor.close()

    def _schedule_jobs(self) -> None:
        for name, (seconds, work) in self._leader_jobs().items():
            self._every(name, seconds, work)
        self._every("catalog", _CATALOG_S, self._reload)
        self._every("status", _STATUS_INTERVAL_S, self._publish_status)
        self._scheduler.start()

    def _leader_jobs(self) -> dict[str, tuple[float, Callable[[], None]]]:
        """The leader's jobs with their intervals, seconds: AWS bills and throttles each call, so standbys make none."""
        jobs: dict[str, tuple[float, Callable[[], None]]] = {"verification": (VERIFICATION_S, self._verify)}
        for name, row in self._external.polls.items():
            jobs[name] = (row.every_s, partial(self._poll, name))
        if self._object_status is not None:
            jobs["objects"] = (_STATUS_INTERVAL_S, self._write_object_status)
        if self._cloudwatch is not None:
            jobs["modes"] = (_PUBLISH_S, self._publish_modes)
        return {name: (seconds, partial(self._as_leader, work)) for name, (seconds, work) in jobs.items()}

    def _poll(self, name: str) -> None:
        self._external.poll(name, self.controller.applications())

    def _verify(self) -> None:
        """Verifies what is due, and says where the budget of calls is too small for all applications."""
        while self._external.verify(self.controller.applications(), VERIFICATION_S):
            if self._stop.is_set() or not self._leadership.leads():
                return
        load = self._external.load()
        if load is None or not load.calls_each:
            return
        self._telemetry.verifiable.set(load.servable)
        self._telemetry.verification_cycle.set(load.cycle_s)
        if load.too_much != self._overloaded and not (self._overloaded and load.too_near):
            self._overloaded = load.too_much
            log.warning("verification.load", applications=load.applications, servable=load.servable, too_much=load.too_much)
            self.controller.publish([overloaded(self._clock.now(), load)])

    def _as_leader(self, work: Callable[[], None]) -> None:
        if self._leadership.leads():
            work()

    def _leadership_changed(self) -> None:
        """Called by the elector when this replica begins or ceases to lead, or another holder appears."""
        leads, holder = self._leadership.leads(), self._leadership.holder()
        self._telemetry.leader.set(leads)
        if leads and self._scheduler.running:
            # A standby has not polled these. In a large fleet the first passes come before them: each needs the processor.
            first = _real_now() + timedelta(seconds=self._clock.real(_FIRST_PASS_S * len(self.controller.applications())))
            for name in self._leader_jobs():
                self._scheduler.modify_job(name, next_run_time=first)
        self._tell_of_loss(lost=not leads and holder == self._leadership.identity and not self._stop.is_set())
        self._tell_of_refused()
        self.controller.lead(leads=leads)

    def _tell_of_loss(self, *, lost: bool) -> None:
        """Notifies of a lost Lease. Only the replica that led last does, so that people are notified once."""
        if lost == self._lost:
            return
        self._lost = lost
        self.controller.publish([leadership(self._clock.now(), lost=lost)])

    def _tell_of_refused(self) -> None:
        """Notifies once of the applications that were refused at the start, as soon as this replica leads."""
        if self._untold and self._leadership.leads():
            self._untold = False
            if error := self._catalog.error:
                self.controller.publish([_refused(error, self._clock.now(), left_out=self._catalog.partial)])

    def _every(self, name: str, seconds: float, work: Callable[[], None]) -> None:
        """Schedules a job, from now on. By default APScheduler drops a run that starts a second late; here none may be dropped."""
        trigger = IntervalTrigger(seconds=self._clock.real(seconds), timezone="UTC")
        self._scheduler.add_job(_logged(name, work, self._stop), trigger, id=name, next_run_time=_real_now(), **_JOB_OPTIONS)

    def _reload(self) -> None:
        """Takes over what changed of the applications, and starts the watches that are missing. The next job does again what fails."""
        if self._objects is not None and (change := self._objects.poll()) is not None:
            try:
                self._take_over(change)
            except BaseException:
                self._objects.undo()
                raise
        self._watches.ensure(self._catalog.applications.values())

    def _take_over(self, change: CatalogChange) -> None:
        applications = change.applications
        if change.differs:
            self.controller.configure(applications)
        if change.error:
            log.warning("config.refused", error=change.error)
            self._telemetry.config_ok.set(0)
            message = _refused(change.error, self._clock.now(), left_out=self._catalog.partial)
        else:
            log.info("config.reloaded", applications=sorted(applications))
            self._telemetry.config_ok.set(not self._catalog.error)
            reloaded = Alert.of(AlertKind.CONFIG_RELOADED, {"count": str(len(applications))})
            message = Message.about(reloaded, MessageKind.CONTROL, "applications changed", self._clock.now())
        if self._leadership.leads():  # each replica reads them; people are notified once
            self.controller.publish([message])

    def _publish_status(self) -> None:
        if self._dispatcher is not None:
            self._telemetry.sinks(self._dispatcher.health())
        if self._publisher is None or not self._leadership.leads():
            return
        with self._publishing:
            if not self._stop.is_set() and self._leadership.confirm(self._leadership.epoch(), PUBLISH_S):
                self._publisher.publish(self._about())

    def _write_object_status(self) -> None:
        """Writes the status of the objects as leader."""
        if self._object_status is None or self._objects is None:
            return
        may = partial(self._leadership.confirm, self._leadership.epoch())
        self._object_status.write(self._objects.verdicts(), self.controller.views(), may=may)

    def _publish_modes(self) -> None:
        """Publishes the mode of every application, and notes a failure as one of the sink: no message may come for days to show it."""
        if self._cloudwatch is None or self._dispatcher is None:
            return
        problem = None
        try:
            self._cloudwatch.publish_modes({view.application.key: view.mode for view in self.controller.views()})
        except RemoteError as error:
            problem = error
        self._dispatcher.beside(self._cloudwatch.name, problem)


def _refused(error: str, now: float, *, left_out: bool) -> Message:
    """The message that applications are refused.

    Args:
        error: Every fault.
        now: Seconds since the Unix epoch.
        left_out: Whether an application that ran before does not run. Otherwise its last accepted generation does.
    """
    title = f"applications refused; {_LEFT_OUT if left_out else 'what was accepted before keeps running'}"
    refused = Alert.of(AlertKind.CONFIG_REFUSED, {"problem": error}, severity=Severity.CRITICAL if left_out else "")
    return Message.about(refused, MessageKind.CONTROL, title, now)


def _real_now() -> datetime:
    """The machine's time, by which the scheduler runs."""
    return datetime.fromtimestamp(SystemClock().now(), UTC)


def _logged(name: str, work: Callable[[], None], stop: threading.Event) -> Callable[[], None]:
    def job() -> None:
        try:
            work()
        except Exception as error:  # a failing job must be logged and must not end the others
            if stop.is_set():  # the process ends, and what the job needs may have ended before it
                log.info("job.interrupted", job=name, error=str(error))
            else:
                log.exception("job.failed", job=name)

    return job


def cloudwatch_sink(settings: Settings, clients: AwsClients, clock: Clock) -> CloudWatchNotifier | None:
    """The CloudWatch sink, None if it is disabled."""
    wanted = settings.cloudwatch
    if not wanted.enabled:
        return None
    return CloudWatchNotifier(clients, wanted.namespace, wanted.alarm_actions, clock=clock, alarms=bool(wanted.alarm_actions))


def _slack(wanted: SlackSettings) -> Iterator[Notifier]:
    from controller.notifiers.endpoint import file_reader

    if wanted.token_file is not None and wanted.channel is not None:
        from controller.notifiers.slack_threads import SlackThreads

        yield SlackThreads(file_reader(wanted.token_file), wanted.channel, api=wanted.api_url)
    elif wanted.webhook_url is not None:
        from controller.notifiers.slack import SlackNotifier

        REDACTOR.register(wanted.webhook_url.get_secret_value())
        yield SlackNotifier(wanted.webhook_url)
    elif wanted.webhook_url_file is not None:
        from controller.notifiers.slack import SlackNotifier

        yield SlackNotifier(file_reader(wanted.webhook_url_file))


def outer_sinks(settings: Settings, clients: AwsClients) -> Iterator[Notifier]:
    """The sinks outside the cluster that are configured. Each module is imported only then."""
    webhook = settings.webhook
    yield from _slack(settings.slack)
    if webhook.url_file is not None:
        from controller.notifiers.endpoint import file_reader
        from controller.notifiers.webhook import WebhookNotifier

        key = None if webhook.key_file is None else file_reader(webhook.key_file)
        yield WebhookNotifier(file_reader(webhook.url_file), key=key)
    if settings.sns.topic_arn is not None or settings.eventbridge.bus is not None:
        from controller.notifiers.topics import EventBridgeNotifier, SnsNotifier

        if settings.sns.topic_arn is not None:
            yield SnsNotifier(clients, settings.sns.topic_arn)
        if settings.eventbridge.bus is not None:
            yield EventBridgeNotifier(clients, settings.eventbridge.bus)
