"""The options: each explained, from files and from the environment, and what can't be worked with told in one line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from oslo_config import cfg, generator, types

from registry_glance.settings import (
    GLANCE_OPTIONS,
    REGISTRY_OPTIONS,
    defaults_from_2013,
    list_opts,
    new_config,
    read_settings,
)
from registry_glance.wsgi import ConfigurationError, load_client

if TYPE_CHECKING:
    from registry_glance.settings import Settings

ROOT = Path(__file__).parents[2]
OWN_OPTIONS = (*REGISTRY_OPTIONS, *GLANCE_OPTIONS)
PASSWORD = "a-password-that-nobody-may-read"
OF_2013 = {
    "OS_USERNAME": "demo",
    "OS_PASSWORD": PASSWORD,
    "OS_TENANT_NAME": "project",
    "OS_AUTH_URL": "http://keystone:5000/v3",
    "OS_GLANCE_URL": "http://glance:9292",
}
WITHOUT_KEYSTONE = "[glance]\nauth_type = none\nendpoint = http://glance:9292\n"


@pytest.fixture(autouse=True)
def no_openstack_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have sourced an openrc."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)


def read(tmp_path: Path, text: str = "") -> cfg.ConfigOpts:
    path = tmp_path / "registry.conf"
    path.write_text(text, encoding="utf-8")
    conf = new_config()
    conf(args=[], default_config_files=[str(path)], project="registry-glance")
    return conf


def settings_of(tmp_path: Path, text: str = "") -> Settings:
    return read_settings(read(tmp_path, text))


def client_of(tmp_path: Path, text: str = "") -> Any:
    """Return an adapter of keystoneauth; the tests look into its parts."""
    conf = read(tmp_path, text)
    return load_client(conf, read_settings(conf))


# Explained


@pytest.mark.parametrize("option", OWN_OPTIONS, ids=lambda option: option.name)
def test_every_option_is_explained_in_sentences(option: cfg.Opt) -> None:
    assert option.help
    assert option.help[0].isupper()
    assert option.help.endswith(".")


@pytest.mark.parametrize("option", OWN_OPTIONS, ids=lambda option: option.name)
def test_every_number_has_a_lower_bound(option: cfg.Opt) -> None:
    if isinstance(option.type, types.Number):
        assert option.type.min is not None


def test_no_option_stands_in_two_groups() -> None:
    names = [(group, option.dest) for group, options in list_opts() for option in options]

    assert len(names) == len(set(names))


def test_every_setting_is_what_an_option_says(tmp_path: Path) -> None:
    """An option that is declared and never read would be a promise that nobody keeps."""
    text = """
[registry]
host = 0.0.0.0
port = 5043
workers = 3
threads = 49
max_streams = 21
stream_wait = 7.5
freshness = 0
upload_expiry = 3600
chunk_min_length = 17
manifest_memory = 18
hide_nameless = false
max_header_size = 10000
[glance]
timeout_per_call = 9
hash_algorithms = sha256,sha512
"""
    settings = settings_of(tmp_path, text)

    assert {f"{option.name} =" in text for option in OWN_OPTIONS} == {True}
    assert (settings.host, settings.port, settings.workers, settings.threads) == ("0.0.0.0", 5043, 3, 49)  # noqa: S104
    assert (settings.max_header_size, settings.chunk_min_length, settings.glance_timeout_s) == (
        10_000,
        17,
        9.0,
    )
    store = settings.store
    assert (store.hide, store.freshness_s, store.upload_expiry_s) == (False, 0.0, 3600.0)
    assert (store.max_streams, store.stream_wait_s, store.manifest_memory_bytes) == (21, 7.5, 18)
    assert tuple(store.hash_algorithms) == ("sha256", "sha512")


def test_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)

    assert (settings.host, settings.port) == ("127.0.0.1", 5042)
    # Small requests always get through.
    assert settings.threads > settings.store.max_streams
    assert settings.store.hide


def test_the_sample_is_what_the_generator_makes_of_the_options() -> None:
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf(["--namespace", "registry_glance"], default_config_files=[])
    fresh = io.StringIO()

    generator.generate(conf, fresh)

    committed = (ROOT / "config" / "registry-glance.conf.sample").read_text(encoding="utf-8")
    made = fresh.getvalue()
    assert made[made.index("[registry]") :] in committed
    # The rest of [glance] is keystoneauth's, and changes with its releases.
    assert made[made.index("[glance]") : made.index("# Authentication type")] in committed


# The environment


def test_the_environment_stands_above_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_REGISTRY__PORT", "5999")
    monkeypatch.setenv("OS_REGISTRY__HIDE_NAMELESS", "false")
    monkeypatch.setenv("OS_GLANCE__TIMEOUT_PER_CALL", "3")

    settings = settings_of(tmp_path, "[registry]\nport = 5000\n[glance]\ntimeout_per_call = 4\n")

    assert (settings.port, settings.store.hide, settings.glance_timeout_s) == (5999, False, 3.0)


def test_a_later_file_stands_above_an_earlier_one(tmp_path: Path) -> None:
    files = [tmp_path / "one.conf", tmp_path / "two.conf"]
    files[0].write_text("[registry]\nport = 5001\nworkers = 7\n", encoding="utf-8")
    files[1].write_text("[registry]\nport = 5002\n", encoding="utf-8")
    conf = new_config()

    conf(args=[], default_config_files=[str(path) for path in files], project="registry-glance")

    assert (read_settings(conf).port, read_settings(conf).workers) == (5002, 7)


# The credential


def test_a_glance_without_keystone_needs_an_endpoint_only(tmp_path: Path) -> None:
    client = client_of(tmp_path, WITHOUT_KEYSTONE)

    assert client.get_endpoint() == "http://glance:9292"


def test_a_credential_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_GLANCE__AUTH_TYPE", "none")
    monkeypatch.setenv("OS_GLANCE__ENDPOINT", "http://other:9292")

    assert client_of(tmp_path).get_endpoint() == "http://other:9292"


def test_an_application_credential_is_taken(tmp_path: Path) -> None:
    client = client_of(
        tmp_path,
        "[glance]\nauth_type = v3applicationcredential\nauth_url = http://keystone:5000/v3\n"
        f"application_credential_id = abc\napplication_credential_secret = {PASSWORD}\n",
    )

    assert client.auth.auth_url == "http://keystone:5000/v3"


def test_the_variables_of_2013_still_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OF_2013.items():
        monkeypatch.setenv(name, value)

    client = client_of(tmp_path)

    assert client.auth.auth_url == OF_2013["OS_AUTH_URL"]
    assert client.endpoint_override == OF_2013["OS_GLANCE_URL"]
    assert client.auth._username == "demo"
    assert client.auth._project_name == "project"


def test_the_url_of_2013_alone_means_a_glance_without_keystone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_GLANCE_URL", OF_2013["OS_GLANCE_URL"])

    assert client_of(tmp_path).get_endpoint() == OF_2013["OS_GLANCE_URL"]


def test_what_is_configured_stands_above_the_variables_of_2013(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OF_2013.items():
        monkeypatch.setenv(name, value)

    client = client_of(tmp_path, WITHOUT_KEYSTONE + "endpoint_override = http://mine:9292\n")

    assert type(client.auth).__name__ == "NoAuth"
    assert client.get_endpoint() == "http://mine:9292"


def test_a_configured_url_stands_above_the_url_of_2013(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell in which somebody once sourced an openrc must not lead the registry to another Glance."""
    monkeypatch.setenv("OS_GLANCE_URL", "http://somewhere-else:9292")

    assert client_of(tmp_path, WITHOUT_KEYSTONE).get_endpoint() == "http://glance:9292"


@pytest.mark.parametrize(
    ("environ", "defaults"),
    [
        ({}, {}),
        ({"OS_USERNAME": "demo"}, {}),
        ({"OS_GLANCE_URL": ""}, {}),
        (
            {"OS_GLANCE_URL": "http://g"},
            {"auth_type": "none", "endpoint": "http://g", "endpoint_override": "http://g"},
        ),
        (
            {
                "OS_AUTH_URL": "http://k",
                "OS_USERNAME": "demo",
                "OS_PASSWORD": "p",
                "OS_PROJECT_NAME": "newer",
            },
            {
                "auth_type": "password",
                "auth_url": "http://k",
                "username": "demo",
                "password": "p",
                "project_name": "newer",
                "user_domain_id": "default",
                "project_domain_id": "default",
            },
        ),
    ],
)
def test_variables_of_2013_become_options(environ: dict[str, str], defaults: dict[str, Any]) -> None:
    assert defaults_from_2013(environ) == defaults


def test_as_many_connections_are_kept_as_can_be_in_use(tmp_path: Path) -> None:
    client = client_of(tmp_path, WITHOUT_KEYSTONE + "[registry]\nthreads = 30\nmax_streams = 10\n")

    assert client.session.session.get_adapter("http://glance:9292")._pool_maxsize >= 30


# What can't be worked with


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing said"),
        pytest.param("[glance]\nauth_type = nonsense\n", id="no such plugin"),
        pytest.param("[glance]\nauth_type = password\n", id="password without anything"),
        pytest.param("[glance]\nauth_type = none\n", id="none without endpoint"),
    ],
)
def test_a_credential_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[glance\]") as caught:
        client_of(tmp_path, text)

    assert "\n" not in str(caught.value)


BAD_FILES = [
    pytest.param("[registry]\nport = abc\n", "port", id="port is no number"),
    pytest.param("[registry]\nport = 70000\n", "port", id="port too large"),
    pytest.param("[registry]\nworkers = 0\n", "workers", id="no workers"),
    pytest.param("[registry]\nmax_streams = 1\n", "max_streams", id="too few streams"),
    pytest.param(
        "[registry]\nthreads = 10\nmax_streams = 10\n", "max_streams", id="streams take all threads"
    ),
    pytest.param("[registry]\nfreshness = -1\n", "freshness", id="negative seconds"),
    pytest.param("[registry]\nhide_nameless = maybe\n", "hide_nameless", id="no truth value"),
    pytest.param("[registry]\nhost = not a host\n", "host", id="no address"),
    pytest.param("[glance]\nhash_algorithms = sha256,nonsense\n", "hash_algorithms", id="no algorithm"),
    pytest.param("[glance]\ntimeout_per_call = 0\n", "timeout_per_call", id="no time at all"),
    pytest.param("port = 5000\nnonsense\n", "registry.conf", id="no configuration file"),
]


@pytest.mark.parametrize(("text", "named"), BAD_FILES)
def test_a_value_that_is_none_is_told_in_one_line_that_names_it(
    tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises((cfg.Error, ConfigurationError, ValueError)) as caught:
        client_of(tmp_path, WITHOUT_KEYSTONE + text)

    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["serve", "--config-file", "{bad}"], id="bad file"),
        pytest.param(["serve", "--config-file", "{missing}"], id="missing file"),
        pytest.param(["serve", "--config-file", "{directory}"], id="directory"),
        pytest.param(["serve"], id="nothing configured"),
    ],
)
def test_the_command_ends_with_2_and_one_line(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "bad.conf").write_text("[registry]\nport = abc\n", encoding="utf-8")
    places = {"bad": tmp_path / "bad.conf", "missing": tmp_path / "missing.conf", "directory": tmp_path}

    done = subprocess.run(
        [sys.executable, "-m", "registry_glance", *(part.format(**places) for part in arguments)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("OS_")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("registry-glance: ")
    assert done.stderr.count("\n") == 1


def test_a_password_is_in_no_message(tmp_path: Path) -> None:
    text = f"[glance]\nauth_type = password\npassword = {PASSWORD}\nusername = demo\nauth_url = http://k\n"

    try:
        told = repr(client_of(tmp_path, text))
    except (cfg.Error, ConfigurationError, ValueError) as exc:
        told = f"{exc!r} {exc.__cause__!r}"

    assert PASSWORD not in told
    assert PASSWORD not in repr(settings_of(tmp_path, text))
