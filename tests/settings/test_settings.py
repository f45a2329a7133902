"""The environment overrides the file, and no error shows a secret."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller import settings as settings_module
from controller.errors import ConfigError
from controller.settings import LogLevel, Settings, load_settings, setting_places, variable_name

SECRET = "https://hooks.slack.com/services/T0/B0/aSecretOfOurs"
TOPIC = "arn:aws:sns:us-west-2:123456789012:alarms"
QUEUE = "https://sqs.us-west-2.amazonaws.com/123456789012/failoverctl-refusals"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FAILOVERCTL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


def refusal(path: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_settings(path)
    return str(error.value).splitlines()


class TestDefaults:
    def test_need_neither_file_nor_environment(self) -> None:
        found = load_settings()
        assert (found.polls.tick_interval_s, found.http.port) == (15, 8080)
        assert found.slack.webhook_url is None

    def test_an_empty_file_changes_nothing(self, file: Path) -> None:
        file.write_text("# nothing\n")
        assert load_settings(file) == load_settings()

    def test_the_settings_cannot_be_changed(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            load_settings().http.port = 1

    def test_the_factor_of_the_clock_is_no_setting(self) -> None:
        assert not [place for place in setting_places(Settings.model_json_schema()) if "factor" in str(place) or "clock" in str(place)]

    def test_no_setting_can_be_hidden_by_a_service_link(self) -> None:
        assert {"service", "port"}.isdisjoint(Settings.model_fields)


class TestSources:
    def test_the_file_is_read(self, file: Path) -> None:
        file.write_text("applications: apps\npolls: {tick_interval_s: 30}\nlog: {level: debug}\n")
        found = load_settings(file)
        assert (found.applications, found.polls.tick_interval_s, found.log.level) == (Path("apps"), 30, LogLevel.DEBUG)

    def test_the_environment_overrides_the_file_field_by_field(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text("polls: {tick_interval_s: 30, elbv2_calls_per_s: 9}\n")
        monkeypatch.setenv("FAILOVERCTL_POLLS__TICK_INTERVAL_S", "20")
        polls = load_settings(file).polls
        assert (polls.tick_interval_s, polls.elbv2_calls_per_s) == (20, 9)

    def test_the_file_may_be_named_by_the_environment(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text("http: {port: 9}\n")
        monkeypatch.setenv("FAILOVERCTL_SETTINGS", str(file))
        assert load_settings().http.port == 9

    def test_an_argument_overrides_the_named_file(self, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text("http: {port: 9}\n")
        monkeypatch.setenv("FAILOVERCTL_SETTINGS", str(tmp_path / "nothing"))
        assert load_settings(file).http.port == 9

    def test_the_environment_may_fix_a_contradiction_in_the_file(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text("slack: {token_file: token}\n")
        assert "slack.channel: found token_file without channel; allowed: both or neither" in refusal(file)[0]
        monkeypatch.setenv("FAILOVERCTL_SLACK__CHANNEL", "#ops")
        assert load_settings(file).slack.channel == "#ops"

    @pytest.mark.parametrize(
        ("variable", "value", "read", "expected"),
        [
            pytest.param("HTTP__UNIT_METRICS", "false", ("http", "unit_metrics"), False, id="a boolean"),
            pytest.param("AWS__REGION", "us-west-2", ("aws", "region"), "us-west-2", id="text"),
            pytest.param("LOG__FORMAT", "console", ("log", "format"), "console", id="a choice"),
            pytest.param("http__port", "81", ("http", "port"), 81, id="in lower case"),
            pytest.param("HTTP__PORT", "", ("http", "port"), 8080, id="empty is not set"),
            pytest.param("APPLICATIONS", "/apps", ("applications",), Path("/apps"), id="at the top"),
            pytest.param("CLOUDWATCH__ALARM_ACTIONS", f'["{TOPIC}"]', ("cloudwatch", "alarm_actions"), (TOPIC,), id="a list"),
        ],
    )
    def test_a_variable_is_read(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, read: tuple[str, ...], expected: Any
    ) -> None:
        monkeypatch.setenv(f"{'failoverctl_' if variable.islower() else 'FAILOVERCTL_'}{variable}", value)
        found: Any = load_settings()
        for step in read:
            found = getattr(found, step)
        assert found == expected

    @pytest.mark.parametrize(
        "name", ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_8080_TCP", "PORT_8080_TCP_ADDR", "PORT_8080_TCP_PROTO"]
    )
    def test_what_kubernetes_adds_for_a_service_of_our_name_is_no_setting(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv(f"FAILOVERCTL_{name}", "tcp://10.0.0.1:8080")
        assert load_settings() == Settings()

    def test_variables_of_others_can_be_excepted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FAILOVERCTL_RUN_ONCE", "1")
        assert load_settings(ignore_env=["FAILOVERCTL_RUN_ONCE"]).http.port == 8080

    @pytest.mark.parametrize(
        ("variable", "hint"),
        [
            ("HTTP__PRT", "; did you mean FAILOVERCTL_HTTP__PORT?"),
            ("APPLICATION", "; did you mean FAILOVERCTL_APPLICATIONS?"),
            ("HTTP__PORT__X", ""),
            ("KUBERNETES__READ_TIMEOUT_S", "; remove it: the time is fixed"),
            ("FRESHNESS__WATCH_S", "; remove it: each source has a limit of its own"),
            ("TEST_LBC", ""),
        ],
    )
    def test_one_that_names_no_setting_is_ignored_and_named_once(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, hint: str
    ) -> None:
        """A test's variable, or a setting of another version, must not break every command."""
        monkeypatch.setattr(settings_module, "_NAMED", set())
        monkeypatch.setenv(f"FAILOVERCTL_{variable}", "1")
        assert load_settings() == load_settings() == Settings()
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert said.err.startswith(f"FAILOVERCTL_{variable}: names no setting and is ignored{hint}")


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param(
                "http:\n  port: true\n", ":2: http.port: found true (boolean); allowed: an integer 0 to 65535", id="boolean for an integer"
            ),
            pytest.param("http:\n  port: '80'\n", ':2: http.port: found "80" (text); allowed: an integer 0 to 65535; write', id="quotes"),
            pytest.param("http:\n  prot: 80\n", ":2: http.prot: found an unknown key; did you mean port?", id="misspelt key"),
            pytest.param("htpp: {}\n", ":1: htpp: found an unknown key; did you mean http?", id="misspelt theme"),
            pytest.param("polls:\n  tick_interval_s: .nan\n", "found .nan (not a finite number)", id="nan"),
            pytest.param("polls: fast\n", ":1: polls: found text; allowed: a mapping with the keys", id="text for a theme"),
            pytest.param("log:\n  level: loud\n", 'found "loud" (text); allowed: debug | info | warning | error', id="choice"),
            pytest.param("aws: {region: Oregon}\n", "allowed: an AWS region such as us-west-2", id="region"),
            pytest.param("aws: {refusal_queue_url: 'http://localhost/1/a'}\n", "allowed: a standard queue's URL such as", id="no queue"),
            pytest.param(f"aws: {{refusal_queue_url: '{QUEUE}.fifo'}}\n", "allowed: a standard queue's URL such as", id="a FIFO queue"),
            pytest.param(f"aws: {{refusal_queue_url: '{QUEUE}/x'}}\n", "allowed: a standard queue's URL such as", id="a longer path"),
            pytest.param(
                f"aws: {{region: us-east-1, refusal_queue_url: '{QUEUE}'}}\n",
                "aws.refusal_queue_url: found a queue of another region than aws.region; allowed: a queue of the cluster's region",
                id="a queue of another region",
            ),
            pytest.param("cloudwatch: {namespace: AWS/ELB}\n", "not starting with AWS/", id="a namespace of AWS"),
            pytest.param("cloudwatch: {alarm_actions: [x]}\n", "allowed: a list of at most 5 ARNs", id="no ARN"),
            pytest.param("karpenter: {metrics_url: 'https://example.com/metrics'}\n", "whose host is a Service", id="metrics elsewhere"),
            pytest.param("karpenter: {metrics_url: 'http://169.254.169.254/'}\n", "whose host is a Service", id="the instance's metadata"),
            pytest.param("karpenter: {metrics_url: 'file:///etc/passwd'}\n", "an http(s) URL", id="a file"),
            pytest.param(
                "karpenter: {metrics_url: 'http://me:pw@karpenter.kube-system.svc/'}\n", "an http(s) URL", id="a password in a URL"
            ),
            pytest.param("karpenter: {metrics_url: 'http://[::1'}\n", "an http(s) URL", id="no URL"),
            pytest.param(
                "freshness: {watch_s: 9}\n", "a setting that no longer exists; remove it: each source has a limit", id="a group gone"
            ),
            pytest.param("slack: {timeout_s: 9}\n", "slack.timeout_s: found a setting that no longer exists; remove it", id="removed"),
            pytest.param("polls: {tick_interval_s: 5}\n", "allowed: a number 6 to 300", id="a tick within a call's time-out"),
            pytest.param("http: {}\nhttp: {}\n", ":2: http: found the key a second time, first in line 1", id="duplicate key"),
            pytest.param("http: {}\n---\nlog: {}\n", "found a second document; allowed: one", id="two documents"),
            pytest.param("- a\n", "found a list of 1; allowed: a mapping", id="a list"),
            pytest.param("a: [\n", "not valid YAML", id="not YAML"),
        ],
    )
    def test_of_the_file_name_line_field_value_and_what_is_allowed(self, file: Path, text: str, expected: str) -> None:
        file.write_text(text)
        (line,) = refusal(file)
        assert line.startswith(str(file))
        assert expected in line

    @pytest.mark.parametrize(
        ("variable", "value", "expected"),
        [
            pytest.param("HTTP__PORT", "99999", 'http.port: found "99999" (text); allowed: an integer 0 to 65535', id="out of bounds"),
            pytest.param("HTTP", '{"port": 1}', "found a whole group; allowed: one variable per setting, such as", id="a whole theme"),
            pytest.param("CLOUDWATCH__ALARM_ACTIONS", "arn:x", "allowed: a JSON list", id="a list that is not JSON"),
            pytest.param("SLACK__CHANNEL", "ops", "allowed: a channel's ID such as C0123456789, or its name with a #", id="channel"),
            pytest.param("SLACK__API_URL", "https://slack.com/api/", "an http(s) URL without a slash at its end", id="Slack's URL"),
            pytest.param("SNS__TOPIC_ARN", "alerts", "allowed: the ARN of a topic such as arn:aws:sns:", id="topic"),
            pytest.param("EVENTBRIDGE__BUS", "my bus", "allowed: the ARN of an event bus, or its name", id="event bus"),
            pytest.param("NOTIFICATIONS__RUNBOOKS", "https://x/y/", "an https:// URL without a slash at its end", id="runbooks"),
            pytest.param("HTTP__UNIT_METRICS", "maybe", 'found "maybe" (text); allowed: true or false', id="neither true nor false"),
        ],
    )
    def test_of_the_environment_name_the_variable(self, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str) -> None:
        monkeypatch.setenv(f"FAILOVERCTL_{variable}", value)
        (line,) = refusal()
        assert line.startswith(f"FAILOVERCTL_{variable}: ")
        assert expected in line

    def test_of_file_and_environment_are_listed_together(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text("http: {port: -5}\nlog: {level: loud}\n")
        monkeypatch.setenv("FAILOVERCTL_HTTP__PORT", "-1")
        monkeypatch.setenv("FAILOVERCTL_LOG__FORMAT", "jsn")
        starts = [line.split(": ")[0] for line in refusal(file)]
        assert sorted(starts) == sorted([f"{file}:1", f"{file}:2", "FAILOVERCTL_HTTP__PORT", "FAILOVERCTL_LOG__FORMAT"])

    def test_a_file_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        assert "found no settings file; allowed: a settings file" in refusal(tmp_path / "nothing.yaml")[0]

    def test_a_directory_is_no_file(self, tmp_path: Path) -> None:
        assert "found something else; allowed: a settings file" in refusal(tmp_path)[0]


class TestSecrets:
    def test_the_webhook_comes_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FAILOVERCTL_SLACK__WEBHOOK_URL", SECRET)
        url = load_settings().slack.webhook_url
        assert url is not None
        assert url.get_secret_value() == SECRET

    def test_only_one_of_url_and_file_may_be_given(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text("slack: {webhook_url_file: /x}\n")
        monkeypatch.setenv("FAILOVERCTL_SLACK__WEBHOOK_URL", SECRET)
        lines = refusal(file)
        assert "allowed: one of the two" in lines[0]
        assert "aSecretOfOurs" not in str(lines)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("slack: {token_file: /x}", "token_file without channel", id="no channel"),
            pytest.param("slack: {channel: C0123456}", "channel without token_file", id="no token"),
            pytest.param("slack: {token_file: /x, channel: C0123456, webhook_url_file: /y}", "both a webhook and a bot's token", id="both"),
            pytest.param("slack: {token_file: /x, channel: alerts}", "channel", id="no channel's name"),
        ],
    )
    def test_a_bot_needs_a_token_and_a_channel_and_no_webhook(self, file: Path, text: str, expected: str) -> None:
        file.write_text(text)
        assert expected in str(refusal(file))

    @pytest.mark.parametrize("text", ["slack: {token_file: /x, channel: C0123456}", "slack: {token_file: /x, channel: '#alerts'}"])
    def test_a_bot_s_channel_is_an_id_or_a_name(self, file: Path, text: str) -> None:
        file.write_text(text)
        assert load_settings(file).slack.token_file == Path("/x")

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param(f"slack: {SECRET}", id="one level too high"),
            pytest.param(f"slack: [{SECRET}]", id="in a list"),
            pytest.param(f"slack: {{webhook: '{SECRET}'}}", id="under a misspelt key"),
            pytest.param(f"slack: {{webhook_url: 'x {SECRET}'}}", id="not a URL"),
            pytest.param(f"slack: {{webhook_url: ['{SECRET}']}}", id="as a list"),
            pytest.param(f"slack: {{webhook_url: {{'{SECRET}': 1}}}}", id="as a key"),
            pytest.param(f"slack: {{webhook_url: '{SECRET}', channel: x}}", id="beside another error"),
            pytest.param(f"slack:\n  webhook_url: {SECRET}: x", id="where YAML breaks"),
            pytest.param(f"slack: {{webhook_url: '{SECRET}}}", id="in an open string"),
            pytest.param(f"slack:\n  webhook_url: {SECRET}\n  webhook_url: {SECRET}", id="twice"),
            pytest.param(f"slack: {{webhook_url: '{SECRET}', webhook_url_file: x}}", id="with a file too"),
            pytest.param(f"- {SECRET}", id="as the document"),
            pytest.param(SECRET, id="alone"),
        ],
    )
    def test_no_error_of_a_file_shows_it(self, file: Path, text: str) -> None:
        file.write_text(text)
        assert "aSecretOfOurs" not in str(refusal(file))

    @pytest.mark.parametrize("name", ["SLACK", "SLACK__WEBHOOK_URL"])
    def test_no_error_of_the_environment_shows_it(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """A group as a whole, and a value that is not allowed."""
        monkeypatch.setenv(f"FAILOVERCTL_{name}", SECRET.replace("https", "http"))
        with pytest.raises(ConfigError, match=f"FAILOVERCTL_{name}") as error:
            load_settings()
        assert "aSecretOfOurs" not in str(error.value)

    @pytest.mark.parametrize("name", ["SLACK__WEBHOOK", "SLACK__WEBHOOK_URL__X", "SLAK__WEBHOOK_URL"])
    def test_nothing_printed_of_an_ignored_variable_shows_it(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
    ) -> None:
        """Standard error names the variable alone."""
        monkeypatch.setenv(f"FAILOVERCTL_{name}", SECRET)
        load_settings()
        printed = capsys.readouterr().err
        assert f"FAILOVERCTL_{name}" in printed
        assert "aSecretOfOurs" not in printed

    def test_settings_can_be_printed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FAILOVERCTL_SLACK__WEBHOOK_URL", SECRET)
        found = load_settings()
        assert "aSecretOfOurs" not in repr(found) + str(found) + found.model_dump_json()

    def test_pydantics_own_error_does_not_show_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FAILOVERCTL_SLACK__WEBHOOK_URL", SECRET.replace("https", "http"))
        with pytest.raises(ValueError, match="webhook_url") as error:
            Settings()
        assert "aSecretOfOurs" not in str(error.value)


class TestAnyInput:
    @settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.binary(max_size=200))
    def test_any_bytes_raise_nothing_but_a_config_error(self, file: Path, content: bytes) -> None:
        file.write_bytes(content)
        with contextlib.suppress(ConfigError):
            load_settings(file)

    @settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.sampled_from([variable_name(place) for place in setting_places(Settings.model_json_schema())]),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
        | st.sampled_from(["[", "[]", "{}", "null", "1e999", "[1]", "9" * 5000, '["arn:aws:sns:x:1:y"]']),
    )
    def test_any_variable_raises_nothing_but_a_config_error(self, variable: str, value: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(variable, value)
            with contextlib.suppress(ConfigError):
                load_settings()

    @pytest.mark.parametrize("place", setting_places(Settings.model_json_schema()), ids=variable_name)
    def test_every_default_can_be_written_in_a_file(self, file: Path, place: tuple[str, ...]) -> None:
        value: Any = Settings().model_dump(mode="json")
        for step in place:
            value = value[step]
        for step in reversed(place):
            value = {step: value}
        file.write_text(yaml.safe_dump(value))
        assert load_settings(file) == Settings()


@pytest.mark.parametrize(
    "url",
    [
        "http://karpenter.kube-system.svc:8080/metrics",
        "https://karpenter.kube-system.svc.cluster.local:8443/metrics",
        "http://127.0.0.1:8080/metrics",
        "http://localhost:8080/metrics",
        "http://10.0.3.7:8080/metrics",
        "http://[::1]:8080/metrics",
    ],
)
def test_where_the_metrics_of_karpenter_may_be(url: str) -> None:
    """On this host, or in the cluster."""
    assert Settings.model_validate({"karpenter": {"metrics_url": url}}).karpenter.metrics_url == url


@pytest.mark.parametrize("region", [None, "us-west-2"])
def test_the_queue_of_refusals_is_in_the_region(region: str | None) -> None:
    """Where the settings name one."""
    assert Settings.model_validate({"aws": {"region": region, "refusal_queue_url": QUEUE}}).aws.refusal_queue_url == QUEUE


def test_queues_of_other_partitions_have_other_hosts() -> None:
    """China's, for one."""
    url = "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/failoverctl"
    assert Settings.model_validate({"aws": {"region": "cn-north-1", "refusal_queue_url": url}}).aws.refusal_queue_url == url
