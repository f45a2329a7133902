"""What the checks of an installation begin with: who runs it, as which ServiceAccount, and each application as the controller reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from controller.cli.published import Published, read_status
from controller.cli.replicas import LABEL, Replicas, is_dry_run, read_replicas
from controller.clients.aws import AwsClients
from controller.clients.kube import PODS, KubeSession
from controller.clock import Clock
from controller.errors import RemoteError
from controller.foreign import shown
from controller.objects import Object, name_of, text
from controller.policy.model import Application
from controller.routing.kinds import routing_port
from controller.settings import AwsApi, Settings
from controller.signals.cluster import ClusterView
from controller.signals.external import verification_request
from controller.signals.load_balancer.request import CannotTellError, VerificationRequest
from controller.signals.once import observe_once
from controller.signals.watch import list_objects


@dataclass(frozen=True, slots=True)
class Installation:
    """The controller of a cluster, as far as it can be read.

    Attributes:
        session: Connection to the API server, with its deadline of a request.
        clock: The clock.
        settings: Those of the command: which namespace the controller has, and which AWS APIs may be called.
        applications: Those that are verified.
        replicas: Its replicas.
        published: What it publishes of its process.
        account: The ServiceAccount of its pods; "" where it is not known.
        unknown: Why the ServiceAccount is not known; "" where it is.
        dry_run: Whether its pods carry nothing out.
    """

    session: KubeSession
    clock: Clock
    settings: Settings
    applications: Sequence[Application]
    replicas: Replicas
    published: Published
    account: str = ""
    unknown: str = ""
    dry_run: bool = False

    @property
    def namespace(self) -> str:
        """The controller's own namespace."""
        return self.settings.kubernetes.state_namespace

    @property
    def user(self) -> str:
        """The controller as the API server names it.

        Raises:
            CannotTellError: Its ServiceAccount is not known.
        """
        if not self.account:
            raise CannotTellError(self.unknown)
        return f"system:serviceaccount:{self.namespace}:{self.account}"


def read_installation(session: KubeSession, clock: Clock, settings: Settings, applications: Sequence[Application]) -> Installation:
    """Reads the Lease, the pods and the published status. What cannot be read is said in the result."""
    namespace = settings.kubernetes.state_namespace
    replicas, published = read_replicas(session, namespace, clock), read_status(session, namespace)
    pods: Sequence[Object] = ()
    unknown = f"namespace {namespace} has no pod with the label {LABEL}"
    try:
        pods = list_objects(session, PODS, namespace, (("labelSelector", LABEL),))[0]
    except RemoteError as error:
        unknown = str(error)
    pod = dict(next((one for one in pods if name_of(one) == replicas.leader), pods[0] if pods else {}))
    account = shown(text(pod, "spec", "serviceAccountName"))
    return Installation(
        session, clock, settings, applications, replicas, published, account, "" if account else unknown, bool(pod) and is_dry_run(pod)
    )


@dataclass(frozen=True)
class Trial:
    """One application of an installation.

    Attributes:
        installation: The installation.
        application: The application.
    """

    installation: Installation
    application: Application

    @property
    def path(self) -> str:
        """The URL path of its routing object."""
        application = self.application
        return routing_port(application).resource.path(application.routing_namespace, application.route.name)

    @cached_property
    def view(self) -> ClusterView:
        """The cluster as the controller sees it for this application.

        Raises:
            RemoteError: The API server gave no usable answer at all.
        """
        made, found = ClusterView(self.installation.clock, lambda: None), self.installation
        wide = found.settings.kubernetes.cluster_wide
        observe_once(found.session, made, found.clock, (self.application,), cluster_wide=wide)
        return made

    @cached_property
    def aws(self) -> AwsClients:
        """The AWS clients."""
        return AwsClients(self.installation.settings.aws.region)

    def question(self) -> VerificationRequest:
        """What the controller asks ELBv2 about this application.

        Raises:
            CannotTellError: It asks nothing.
            RemoteError: See `view`.
        """
        if AwsApi.ELBV2 not in self.installation.settings.aws.apis:
            raise CannotTellError("aws.apis leaves elbv2 out")
        request = verification_request(self.application, self.view)
        if request is None:
            problem = self.view.routing(self.application).problem
            raise CannotTellError(f"the routing object has no action that can be read{f': {problem}' if problem else ''}")
        return request
