"""The options of ``[docker]`` in nova.conf: declared, and read once into frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from oslo_config import cfg, types

GROUP: Final = "docker"

# What Docker itself gives to containers, without NET_RAW (forged packets) and MKNOD (devices), and without
# SETFCAP, SETPCAP and AUDIT_WRITE, which services don't need.
DEFAULT_CAPABILITIES: Final = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
    "SYS_CHROOT",
)

OPTIONS: Final = (
    cfg.StrOpt(
        "host",
        default="unix:///var/run/docker.sock",
        help="The engine's socket. Give Nova an engine of its own: whoever may use the socket is root on this host.",
    ),
    cfg.IntOpt(
        "timeout",
        default=60,
        min=1,
        help="Seconds that the engine may stay silent within one call; a pull may take longer, as long as it goes on.",
    ),
    cfg.StrOpt(
        "registry",
        default="127.0.0.1:5042",
        help="Where this host's engine reaches the registry, as host:port. Without TLS the engine pulls from loopback "
        "only, unless its insecure-registries names the registry.",
    ),
    cfg.StrOpt(
        "runtime",
        help="OCI runtime of all containers by the engine's name for it, for example of Kata Containers or gVisor. Not "
        "set: the engine's default.",
    ),
    cfg.IntOpt("pids_limit", default=4096, min=16, help="Processes and threads that one container may have."),
    cfg.ListOpt(
        "capabilities",
        item_type=types.String(regex=r"^[A-Z][A-Z_]*$"),
        default=list(DEFAULT_CAPABILITIES),
        help="Linux capabilities of root inside containers, without CAP_. Empty: none.",
    ),
    cfg.IntOpt(
        "log_size",
        default=10,
        min=1,
        help="MiB of one file of a container's output, from which the console log is read.",
    ),
    cfg.IntOpt("log_files", default=3, min=1, help="Files of a container's output that are kept."),
    cfg.IntOpt(
        "stop_timeout",
        default=10,
        min=0,
        help="Seconds that a soft reboot leaves the command to heed TERM before it is killed. A stop has its own "
        "time, [DEFAULT] shutdown_timeout.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerOptions:
    """What the operator decided; each attribute is the option of that name.

    Attributes:
        log_size_bytes: ``log_size`` in bytes.
        timeout_s: ``timeout``.
        stop_timeout_s: ``stop_timeout``.
    """

    host: str
    timeout_s: int
    registry: str
    runtime: str | None
    pids_limit: int
    capabilities: tuple[str, ...]
    log_size_bytes: int
    log_files: int
    stop_timeout_s: int


def register_options(conf: cfg.ConfigOpts) -> None:
    """Declare the options; repeated calls do no harm."""
    conf.register_opts(OPTIONS, group=GROUP)


def list_opts() -> list[tuple[str, list[Any]]]:
    """Return all options by group, as oslo-config-generator wants them."""
    return [(GROUP, list(OPTIONS))]


def read_options(conf: cfg.ConfigOpts) -> DockerOptions:
    """Freeze what was read."""
    group = conf[GROUP]
    return DockerOptions(
        host=group.host,
        timeout_s=group.timeout,
        registry=group.registry,
        runtime=group.runtime,
        pids_limit=group.pids_limit,
        capabilities=tuple(group.capabilities),
        log_size_bytes=group.log_size * 1024 * 1024,
        log_files=group.log_files,
        stop_timeout_s=group.stop_timeout,
    )
