"""The OpenAPI document is true: requests made from it get the answers it declares."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import schemathesis.specs.openapi.object_authorization  # here, and not deep in a check: see below
from failover_model_server.http import app
from failover_model_server.serving.service import Service
from failover_model_server.telemetry.sink import Sink
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.support.process import ServerProcess, running
from tests.support.service import echo

# pytest parses the modules of its plugins when they are imported. Deep in Hypothesis's stack Python 3.11 sometimes fails there, with
# "SystemError: AST constructor recursion depth mismatch" (CPython issue 106905), and a check imports that module when it first runs.

# A valid request may still be refused: n_runs times n_inf is bounded, and tensors must be those of the task, which no schema says.
ACROSS_FIELDS = positive_data_acceptance

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

schema = schemathesis.openapi.from_dict(app.make(Service(echo(app="text"), Sink())).openapi())


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server of the same settings."""
    with running(APP="text", MODEL_SERVER_LOAD_ROUTE_LIMIT="20") as running_server:
        running_server.until("/readiness", 200)
        yield running_server


@schema.parametrize()
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_answers_are_as_declared(case: schemathesis.Case[Any], server: ServerProcess) -> None:
    """No generated request, valid or not, gets a server error or an answer that the document does not declare."""
    case.call_and_validate(base_url=server.url, excluded_checks=[ACROSS_FIELDS])
