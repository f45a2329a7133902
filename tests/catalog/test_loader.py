"""Any file becomes applications or one error that lists every faulty line."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.catalog.loader import MAX_FILES, Source, load_application_file, load_directory
from controller.documents import LISTED, SIZE_LIMIT
from controller.errors import ConfigError
from failover_setup.application import parse_sources

SEED = (Path(__file__).parents[2] / "config" / "sd21.yaml").read_text()


def write(path: Path, *documents: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return path


def renamed(document: dict[str, Any], name: str) -> dict[str, Any]:
    text = yaml.safe_dump(document, sort_keys=False).replace("app", name).replace("-hpa", f"-{name}-hpa")
    result: dict[str, Any] = yaml.safe_load(text)
    return result


class TestFiles:
    def test_one_file_may_define_several_applications(self, tmp_path: Path, document: dict[str, Any]) -> None:
        path = write(tmp_path / "x.yaml", renamed(document, "aaa"), renamed(document, "bbb"))
        assert [application.key for application in load_application_file(path)] == ["default/aaa", "default/bbb"]

    def test_empty_documents_are_skipped(self, tmp_path: Path, document: dict[str, Any]) -> None:
        path = tmp_path / "x.yaml"
        path.write_text("---\n---\n" + yaml.safe_dump(document) + "---\n# nothing\n")
        assert len(load_application_file(path)) == 1

    def test_a_directory_is_read_in_the_order_of_its_names(self, tmp_path: Path, document: dict[str, Any]) -> None:
        for name, file in (("ccc", "2.yaml"), ("aaa", "3.yml"), ("bbb", "1.yaml")):
            write(tmp_path / file, renamed(document, name))
        assert list(load_directory(tmp_path)) == ["default/bbb", "default/ccc", "default/aaa"]

    def test_a_directory_may_hold_other_things(self, tmp_path: Path, document: dict[str, Any]) -> None:
        write(tmp_path / "app.yaml", document)
        (tmp_path / ".hidden.yaml").write_text("no: application")
        (tmp_path / "README.md").write_text("words")
        (tmp_path / "schema.yaml").mkdir()
        assert list(load_directory(tmp_path)) == ["default/app"]

    def test_a_mounted_config_map_is_read_once(self, tmp_path: Path, document: dict[str, Any]) -> None:
        version = tmp_path / "..2026_11_24"
        version.mkdir()
        write(version / "app.yaml", document)
        (tmp_path / "..data").symlink_to(version.name)
        (tmp_path / "app.yaml").symlink_to("..data/app.yaml")
        assert list(load_directory(tmp_path)) == ["default/app"]

    def test_several_mounted_config_maps_are_read(self, tmp_path: Path, document: dict[str, Any]) -> None:
        """Each is mounted in a directory of its own, so that the same file name in two of them hides nothing."""
        for folder, name in (("team-b", "bbb"), ("team-a", "aaa")):
            version = tmp_path / folder / "..2026_11_24"
            version.mkdir(parents=True)
            write(version / "app.yaml", renamed(document, name))
            (tmp_path / folder / "..data").symlink_to(version.name)
            (tmp_path / folder / "app.yaml").symlink_to("..data/app.yaml")
        (tmp_path / "team-a" / "deeper").mkdir()
        (tmp_path / "team-a" / "deeper" / "app.yaml").write_text("is not read")
        assert list(load_directory(tmp_path)) == ["default/aaa", "default/bbb"]

    def test_an_application_that_two_config_maps_hold_is_named(self, tmp_path: Path, document: dict[str, Any]) -> None:
        for folder in ("team-a", "team-b"):
            (tmp_path / folder).mkdir()
            write(tmp_path / folder / "app.yaml", document)
        with pytest.raises(ConfigError) as error:
            load_directory(tmp_path)
        assert any("team-b/app.yaml:" in line and "team-a/app.yaml:1 has too" in line for line in str(error.value).splitlines())

    def test_a_byte_order_mark_is_skipped(self, tmp_path: Path, document: dict[str, Any]) -> None:
        path = tmp_path / "x.yaml"
        path.write_bytes(b"\xef\xbb\xbf" + yaml.safe_dump(document).encode())
        assert len(load_application_file(path)) == 1

    def test_anchors_may_be_used(self, tmp_path: Path) -> None:
        text = SEED.replace("latencyLimitSeconds: 1.2", "latencyLimitSeconds: &slow 1.2", 1)
        text = text.replace("latencyLimitSeconds: 1.2", "latencyLimitSeconds: *slow", 1)
        path = tmp_path / "x.yaml"
        path.write_text(text)
        assert [unit.latency_limit_s for unit in load_application_file(path)[0].units] == [0.9, 0.9, 0.9, 1.2, 1.2]


class TestErrors:
    def test_name_file_line_field_value_and_what_is_allowed(self, tmp_path: Path) -> None:
        path = tmp_path / "sd21.yaml"
        path.write_text(SEED.replace("weight: 20", "weight: 40.5"))
        line = SEED[: SEED.index("weight: 20")].count("\n") + 1
        with pytest.raises(ConfigError) as error:
            load_application_file(path)
        assert str(error.value) == f"{path}:{line}: spec.units[1].weight: found 40.5 (float); allowed: an integer 0 to 999, or nothing"

    @pytest.mark.parametrize(
        ("old", "new", "text"),
        [
            pytest.param("weight: 20", "weight: 20\n      weight: 30", "found the key a second time", id="duplicate key"),
            pytest.param("weight: 20", "weight: 010", "found 010; allowed: a decimal number", id="octal"),
            pytest.param("weight: 20", "weight: 0x14", "found 0x14; allowed: a decimal number", id="hexadecimal"),
            pytest.param("weight: 20", "weight: 1:30", "found 1:30; allowed: a decimal number", id="sexagesimal"),
            pytest.param("throughput: 130", "throughput: 1_30", "found 1_30; allowed: a decimal number", id="underscore"),
            pytest.param("throughput: 130", "throughput: 1.0e+999", "(not a finite number)", id="a float beyond every float"),
            pytest.param("weight: 20", "weight: !!python/object:os.system x", "allowed: no tags", id="tag"),
            pytest.param("device: trn1", "device: !secret x", "allowed: no tags", id="own tag"),
            pytest.param("device: trn1", "device: on", "found on (boolean); allowed: text of at most 100 characters; put it in", id="on"),
            pytest.param("device: trn1", "device: 2024", "found 2024 (integer); allowed: text", id="a year"),
            pytest.param("device: trn1", 'device: "\\ud800"', "surrogate", id="half a surrogate pair"),
            pytest.param("device: trn1", "<<: {device: trn1}", "found the merge key <<", id="merge key"),
            pytest.param("device: trn1", "[a]: trn1", "found a key that is not plain text", id="a list as a key"),
            pytest.param("device: trn1", "device: [trn1", "not valid YAML", id="not YAML"),
            pytest.param("device: trn1", "device: *nothing", "found undefined alias", id="alias of nothing"),
            pytest.param("device: trn1", "device: \x07", "not valid YAML: special characters are not allowed", id="control character"),
            pytest.param("device: trn1", "device: " + "[" * 50 + "]" * 50, "more than 24 levels", id="too deep"),
            pytest.param("device: trn1", "device: &a [*a]", "aliases expand to more than", id="an alias of itself"),
        ],
    )
    def test_traps_of_yaml_are_named_with_their_line(self, tmp_path: Path, old: str, new: str, text: str) -> None:
        path = tmp_path / "x.yaml"
        path.write_text(SEED.replace(old, new, 1))
        line = SEED[: SEED.index(old)].count("\n") + 1
        with pytest.raises(ConfigError) as error:
            load_application_file(path)
        lines = [found for found in str(error.value).splitlines() if text in found]
        assert len(lines) == 1, str(error.value)
        assert re.search(rf"x\.yaml:{line}:|x\.yaml:{line + 1}:", lines[0])

    @pytest.mark.parametrize("number", ["1e3", "1.0e+3", "+1000", "1000.", "1.0e3"])
    def test_a_number_may_be_written_in_every_usual_way(self, tmp_path: Path, number: str) -> None:
        path = tmp_path / "x.yaml"
        path.write_text(SEED.replace("throughput: 130", f"throughput: {number}"))
        assert load_application_file(path)[0].units[1].throughput == 1000

    def test_a_billion_laughs_end_early(self, tmp_path: Path) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
        path = tmp_path / "x.yaml"
        path.write_text("\n".join(lines))
        with pytest.raises(ConfigError, match="aliases expand to more than 20000 values"):
            load_application_file(path)

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            pytest.param(b"", "found no document", id="empty"),
            pytest.param(b"# nothing\n", "found no document", id="comments only"),
            pytest.param(b"\xff\xfe", "not UTF-8 text", id="not UTF-8"),
            pytest.param(b"a: 1\nb: \xff", ":2: not UTF-8 text", id="not UTF-8 in the second line"),
            pytest.param(b"text", "found text; allowed: a mapping", id="text"),
            pytest.param(b"- a", "found a list of 1; allowed: a mapping", id="a list"),
            pytest.param(b"x: y\n" * (SIZE_LIMIT // 5 + 1), f"more than {SIZE_LIMIT} bytes", id="too large"),
            pytest.param(b"[" + b"1," * 20_001 + b"]", "more than 20000 values", id="too many values"),
            pytest.param(b'"\\UFFFFFFFF"', "not valid YAML", id="an escape beyond Unicode"),
            pytest.param(b"%YAML 1." + b"9" * 5000 + b"\n---\n", "not valid YAML", id="a version beyond every integer"),
        ],
    )
    def test_content_that_is_no_application_is_an_error(self, tmp_path: Path, content: bytes, text: str) -> None:
        path = tmp_path / "x.yaml"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=re.escape(text)):
            load_application_file(path)

    @pytest.mark.parametrize("name", ["missing.yaml", "nul\0.yaml", "a" * 5000], ids=["missing", "not a path", "too long"])
    def test_a_path_that_does_not_exist_is_an_error(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ConfigError):
            load_directory(tmp_path / name)

    def test_an_empty_directory_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=f"found 0 application files; allowed: 1 to {MAX_FILES}"):
            load_directory(tmp_path)

    def test_a_broken_link_is_an_error_beside_the_others(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").symlink_to("nowhere")
        (tmp_path / "b.yaml").write_text("text")
        with pytest.raises(ConfigError) as error:
            load_directory(tmp_path)
        assert [line.split(": ")[0].rsplit("/", 1)[1] for line in str(error.value).splitlines()] == ["a.yaml", "b.yaml:1"]

    def test_the_faults_that_are_not_listed_are_counted_over_all_files(self, tmp_path: Path, document: dict[str, Any]) -> None:
        for name, faults in (("a", 50), ("b", 70)):
            write(tmp_path / f"{name}.yaml", renamed(document, name) | {f"unknown{n}": 1 for n in range(faults)})
        with pytest.raises(ConfigError) as error:
            load_directory(tmp_path)
        *listed, last = str(error.value).splitlines()
        assert last == f"and {50 + 70 - len(listed)} more"
        assert all("a.yaml" in line and "found an unknown key" in line for line in listed)
        assert sum(map(len, listed)) <= LISTED

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            pytest.param({}, "found Ingress default/one", id="the same Ingress"),
            pytest.param({"ingress": "two"}, "found application default/app", id="the same name"),
            pytest.param({"ingress": "two", "name": "other"}, "found ScaledObject default/one-hpa", id="the same ScaledObject"),
        ],
    )
    def test_two_applications_must_not_claim_the_same_thing(
        self, tmp_path: Path, document: dict[str, Any], change: dict[str, str], text: str
    ) -> None:
        first, second = renamed(document, "app"), renamed(document, "app")
        first["spec"]["ingress"] = "one"
        second["spec"]["ingress"] = change.get("ingress", "one")
        second["metadata"]["name"] = change.get("name", "app")
        for one in (first, second):
            for unit in one["spec"]["units"]:
                unit["scaledObject"] = f"{unit['name']}-hpa"
        write(tmp_path / "1.yaml", first)
        write(tmp_path / "2.yaml", second)
        with pytest.raises(ConfigError) as error:
            load_directory(tmp_path)
        assert any(text in line and "2.yaml:" in line and "1.yaml:1 has too" in line for line in str(error.value).splitlines())

    def test_the_same_names_in_two_namespaces_are_two_applications(self, tmp_path: Path, document: dict[str, Any]) -> None:
        other = {**document, "metadata": {"name": "app", "namespace": "other"}}
        write(tmp_path / "x.yaml", document, other)
        assert set(load_directory(tmp_path)) == {"default/app", "other/app"}


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=10),
    st.sampled_from(["explicit", "40", "inf2.xlarge", "Application", 80, 1e400]),
)
_KEYS = st.sampled_from(re.findall(r"(\w+):", SEED)) | st.text(max_size=5)
_TREES = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(_KEYS, inner, max_size=6), max_leaves=30)


no_deadline = settings(deadline=None)
few = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def parse(content: bytes) -> None:
    """Anything but a `ConfigError` fails the test."""
    with contextlib.suppress(ConfigError):
        parse_sources([Source("x.yaml", content)])


class TestAnyBytes:
    @no_deadline
    @given(st.binary(max_size=300))
    def test_raise_nothing_but_a_config_error(self, content: bytes) -> None:
        parse(content)

    @no_deadline
    @given(st.text(alphabet=st.sampled_from("&*!|>%@`{}[],:?-#'\"\\ \n\tab01.~<=uUx"), max_size=80))
    def test_of_yamls_own_characters_raise_nothing_but_a_config_error(self, text: str) -> None:
        parse(text.encode())

    @no_deadline
    @given(_TREES)
    def test_of_any_tree_of_our_keys_raise_nothing_but_a_config_error(self, tree: object) -> None:
        parse(yaml.safe_dump(tree).encode())

    @few
    @given(st.integers(0, len(SEED)), st.integers(0, 60), st.text(max_size=8))
    def test_of_a_damaged_seed_raise_nothing_but_a_config_error(self, start: int, length: int, inserted: str) -> None:
        parse((SEED[:start] + inserted + SEED[start + length :]).encode(errors="surrogatepass"))

    @few
    @given(_TREES, st.sampled_from([line.strip().split(":")[0] for line in SEED.splitlines() if ":" in line and "#" not in line]))
    def test_of_a_seed_with_any_value_in_it_raise_nothing_but_a_config_error(self, tree: object, key: str) -> None:
        flow = yaml.safe_dump(tree, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")
        parse(re.sub(rf"\b{re.escape(key)}:.*", lambda _: f"{key}: {flow}", SEED).encode(errors="surrogatepass"))
