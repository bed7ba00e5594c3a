"""What a person may want to type next: lines to copy, which work as they are printed."""

import shlex
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from devcloud.ports import LOOPBACK, authority, own_address, reachable

EXAMPLE = "busybox"


def hints(urls: Mapping[str, str], *, host: str) -> str:
    """Return the lines for what is up: push with Docker or without, and look at Glance."""
    lines: list[str] = []
    if "registry" in urls:
        registry = urlsplit(urls["registry"])
        name = f"{registry.netloc}/{EXAMPLE}"
        lines += [
            "Push an image with Docker (or podman: then add --tls-verify=false to the push):",
            f"  docker pull {EXAMPLE}",
            f"  docker tag {EXAMPLE} {name}",
            f"  docker push {name}",
            "or without:",
            f"  skopeo copy --dest-tls-verify=false docker://{EXAMPLE} docker://{name}",
        ]
        if reachable(host) != host:
            elsewhere = authority(own_address() or host, registry.port or 80)
            lines.append(f'Engines on other machines need {elsewhere} in "insecure-registries".')
        elif host not in {LOOPBACK, "localhost", "::1"}:
            lines.append(f'Engines need {registry.netloc} in "insecure-registries".')
    if "glance" in urls:
        lines += [
            "See what Glance has:",
            f"  {glance_command(urls['glance'])} --verbose image-list",
            f"  {openstack_command(urls['glance'])} image list",
        ]
    return "\n".join(lines)


def openrc(urls: Mapping[str, str]) -> str:
    """Return shell commands after which the plain ``openstack`` and ``glance`` talk to Glance.

    The two want different variables and each refuses the other's, hence the function.
    """
    url = urls["glance"]
    glance = f"env -u OS_AUTH_TYPE -u OS_ENDPOINT {glance_command(url)}"
    return f'export OS_AUTH_TYPE=none OS_ENDPOINT={url}\nglance() {{ {glance} "$@"; }}'


def glance_command(url: str) -> str:
    """Return the ``glance`` client with its environment."""
    return f"OS_AUTH_TOKEN=none OS_IMAGE_URL={url} {_program('glance')}"


def openstack_command(url: str) -> str:
    """Return the ``openstack`` client with its environment."""
    return f"OS_AUTH_TYPE=none OS_ENDPOINT={url} {_program('openstack')}"


def _program(name: str) -> str:
    """The program's name if the shell finds it, else where this Python's environment has it."""
    return name if shutil.which(name) else shlex.quote(str(Path(sysconfig.get_path("scripts"), name)))
