"""Installed as ``nova.virt.docker``: Nova loads drivers from there only, so that is where ours is found."""

from nova_hook.driver import DockerDriver

__all__ = ["DockerDriver"]
