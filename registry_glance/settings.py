"""The registry's options: declared, read once, and handed on as frozen values.

Every option can come from a file (``--config-file``) or from the environment, as oslo.config has it:
``OS_REGISTRY__PORT=5000`` sets ``port`` in ``[registry]``. The variables of the first docker-registry driver
(``OS_USERNAME``, ``OS_PASSWORD``, ``OS_TENANT_NAME``, ``OS_AUTH_URL``, ``OS_GLANCE_URL``) still work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keystoneauth1 import loading
from oslo_config import cfg, types

from registry_glance.registry.digests import ALGORITHMS
from registry_glance.store.assembly import StoreOptions

REGISTRY_OPTIONS: Final = (
    cfg.HostAddressOpt("host", default="127.0.0.1", help="Address to listen on."),
    cfg.PortOpt("port", default=5042, help="TCP port to listen on."),
    cfg.IntOpt("workers", default=2, min=1, help="Processes that serve requests."),
    cfg.IntOpt(
        "threads",
        default=48,
        min=4,
        help="Requests that one process serves at the same time. More than max_streams; a quarter is kept for requests "
        "that carry no data, so that slow uploads and downloads never block them.",
    ),
    cfg.IntOpt(
        "max_streams",
        default=20,
        min=2,
        help="Uploads and downloads of data between one process and Glance that may be open at the same time. "
        "The sum over all processes of all replicas must stay below Glance's threads (workers x threads), with "
        "some to spare for its other calls; otherwise uploads in several chunks can stand still.",
    ),
    cfg.FloatOpt(
        "stream_wait",
        default=20.0,
        min=0,
        help="Seconds that an upload or download waits for its turn before the client is told to come again (503).",
    ),
    cfg.FloatOpt(
        "freshness",
        default=2.0,
        min=0,
        help="Seconds for which a tag that was read counts as unchanged by users of Glance, so that its name is not "
        "looked up again. What goes through any replica shows at once in any case. 0: look it up in every request.",
    ),
    cfg.FloatOpt(
        "upload_expiry",
        default=86400.0,
        min=60,
        help="Seconds after which an unfinished upload can't be gone on with.",
    ),
    cfg.IntOpt(
        "chunk_min_length",
        default=4 * 1024 * 1024,
        min=0,
        help="Bytes that clients are asked to put into each chunk of an upload in several chunks (the header "
        "OCI-Chunk-Min-Length). Smaller chunks are taken too; each costs a Glance image until the upload ends.",
    ),
    cfg.IntOpt(
        "manifest_memory",
        default=32 * 1024 * 1024,
        min=0,
        help="Bytes of manifests that one process keeps in memory.",
    ),
    cfg.BoolOpt(
        "hide_nameless",
        default=True,
        help="Hide the Glance images that have no name (layers, untagged manifests, uploads in progress) from plain "
        "image lists. False shows them, as the first docker-registry driver did, and makes look-ups slower.",
    ),
    cfg.IntOpt(
        "max_header_size",
        default=65536,
        min=8190,
        help="Bytes of one request header; a Keystone token as password has several thousand.",
    ),
)

GLANCE_OPTIONS: Final = (
    cfg.FloatOpt(
        "timeout_per_call",
        default=60.0,
        min=1,
        help="Seconds that Glance may stay silent within one call.",
    ),
    cfg.ListOpt(
        "hash_algorithms",
        item_type=types.String(choices=sorted(ALGORITHMS)),
        default=[],
        help="The values that hashing_algorithm has had in Glance's configuration while this registry stored in it. "
        "Empty: learn it from the images. Name them all if it was ever changed.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator decided.

    Attributes:
        host: Address to listen on.
        port: TCP port to listen on.
        workers: Processes.
        threads: Of each process.
        max_header_size: Bytes of one request header.
        chunk_min_length: Bytes that a chunk should have at least.
        glance_timeout_s: How long Glance may stay silent.
        store: What concerns the store.
    """

    host: str
    port: int
    workers: int
    threads: int
    max_header_size: int
    chunk_min_length: int
    glance_timeout_s: float
    store: StoreOptions

    @property
    def data_requests(self) -> int:
        """Requests that carry blobs which one process takes at the same time."""
        return max(self.store.max_streams, self.threads * 3 // 4)

    @property
    def manifest_pushes(self) -> int:
        """Requests that carry manifests which one process takes at the same time; what is left is for small ones."""
        return max(1, (self.threads - self.data_requests) // 2)


def new_config() -> cfg.ConfigOpts:
    """Return a configuration with the registry's options declared, and nothing read yet."""
    conf = cfg.ConfigOpts()
    for group, options in list_opts():
        conf.register_opts(options, group=group)
    return conf


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """Return all options by group, as oslo-config-generator wants them."""
    return [
        ("registry", list(REGISTRY_OPTIONS)),
        (
            "glance",
            [
                *GLANCE_OPTIONS,
                *loading.get_auth_common_conf_options(),
                *loading.get_session_conf_options(),
                *loading.get_adapter_conf_options(include_deprecated=False),
            ],
        ),
    ]


def read_settings(conf: cfg.ConfigOpts) -> Settings:
    """Freeze what was read.

    Raises:
        ValueError: Values that are right by themselves don't go together.
    """
    registry, glance = conf.registry, conf.glance
    if registry.threads <= registry.max_streams:
        raise ValueError(
            f"[registry] threads ({registry.threads}) must be more than max_streams ({registry.max_streams})"
        )
    return Settings(
        host=str(registry.host),
        port=registry.port,
        workers=registry.workers,
        threads=registry.threads,
        max_header_size=registry.max_header_size,
        chunk_min_length=registry.chunk_min_length,
        glance_timeout_s=glance.timeout_per_call,
        store=StoreOptions(
            hide=registry.hide_nameless,
            freshness_s=registry.freshness,
            upload_expiry_s=registry.upload_expiry,
            max_streams=registry.max_streams,
            stream_wait_s=registry.stream_wait,
            manifest_memory_bytes=registry.manifest_memory,
            hash_algorithms=tuple(glance.hash_algorithms),
        ),
    )


def defaults_from_2013(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what the variables of the first docker-registry driver say, as options of ``[glance]``.

    They are the least of all sources: whatever the configuration names is taken instead.
    """
    defaults: dict[str, Any] = {}
    if url := environ.get("OS_GLANCE_URL"):
        defaults["endpoint_override"] = url
    if "OS_AUTH_URL" in environ and "OS_USERNAME" in environ:
        defaults |= {
            "auth_type": "password",
            "auth_url": environ["OS_AUTH_URL"],
            "username": environ["OS_USERNAME"],
            "password": environ.get("OS_PASSWORD", ""),
            "project_name": environ.get("OS_TENANT_NAME") or environ.get("OS_PROJECT_NAME", ""),
            "user_domain_id": environ.get("OS_USER_DOMAIN_ID", "default"),
            "project_domain_id": environ.get("OS_PROJECT_DOMAIN_ID", "default"),
        }
    elif url:
        defaults |= {"auth_type": "none", "endpoint": url}
    return defaults
