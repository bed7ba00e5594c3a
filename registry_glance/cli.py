"""The command line: ``registry-glance serve``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from oslo_config import cfg

from registry_glance import __version__
from registry_glance.server import RegistryServer
from registry_glance.settings import new_config, read_settings
from registry_glance.wsgi import ConfigurationError, load_client, make_application


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 2 for a configuration that can't be worked with."""
    parser = argparse.ArgumentParser(
        prog="registry-glance", description="A container registry whose only storage is OpenStack Glance."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve the registry until it is stopped")
    serve.add_argument(
        "--config-file",
        action="append",
        metavar="PATH",
        help="a file of options (may be repeated); by default only the environment counts",
    )
    serve.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"], help="default: info"
    )
    options = parser.parse_args(arguments)
    return _serve(options.config_file or [], options.log_level)


def _serve(config_files: Sequence[str], log_level: str) -> int:
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"
    )
    # One line a request is gunicorn's access log; urllib3 would add one for each call to Glance.
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    conf = new_config()
    try:
        conf(args=[], default_config_files=list(config_files), project="registry-glance")
        settings = read_settings(conf)
        load_client(conf, settings)
    except (cfg.Error, ConfigurationError, OSError, ValueError) as exc:
        print(f"registry-glance: {exc}", file=sys.stderr)
        return 2
    RegistryServer(settings, lambda: make_application(conf)).run()
    return 0
