"""The composition root: configuration in, the WSGI application out."""

from __future__ import annotations

import os
from typing import Final

import requests
from flask import Flask
from keystoneauth1 import adapter, loading, session
from keystoneauth1 import exceptions as ksa_exceptions
from oslo_config import cfg
from requests.adapters import HTTPAdapter

from registry_glance.api.app import create_app
from registry_glance.glance import GlanceImages
from registry_glance.registry.ports import Registry
from registry_glance.settings import Settings, defaults_from_2013, read_settings
from registry_glance.store.assembly import CallerMemory, SharedState, open_registry
from registry_glance.store.translation import registry_errors

GROUP: Final = "glance"


class ConfigurationError(Exception):
    """The configuration can't be worked with; the message says what to change."""


def load_client(conf: cfg.ConfigOpts, settings: Settings) -> adapter.Adapter:
    """Return a client of the image service with the registry's own credential. Nothing is asked yet.

    Raises:
        ConfigurationError: ``[glance]`` names no way to authenticate, or an incomplete one.
    """
    loading.register_auth_conf_options(conf, GROUP)
    defaults = defaults_from_2013(os.environ) if conf[GROUP].auth_type is None else {}
    auth_type = conf[GROUP].auth_type or defaults.pop("auth_type", None)
    if not auth_type:
        raise ConfigurationError(
            "[glance] auth_type is not set: name a keystoneauth plugin (for example v3applicationcredential), "
            "or none with an endpoint for a Glance without Keystone"
        )
    conf.set_default("auth_type", auth_type, group=GROUP)
    try:
        conf.register_opts(loading.get_auth_plugin_conf_options(auth_type), group=GROUP)
        for option, value in defaults.items():
            conf.set_default(option, value, group=GROUP)
        if auth_type == "none" and not (conf[GROUP].endpoint or conf[GROUP].endpoint_override):
            raise ConfigurationError("[glance] endpoint is not set: where is the Glance without Keystone?")
        auth = loading.load_auth_from_conf_options(conf, GROUP)
        glance_session: session.Session = loading.load_session_from_conf_options(
            conf, GROUP, auth=auth, session=_pooled(settings.threads + settings.store.max_streams)
        )
        client: adapter.Adapter = loading.load_adapter_from_conf_options(
            conf, GROUP, session=glance_session, auth=auth, service_type=conf[GROUP].service_type or "image"
        )
    except ksa_exceptions.ClientException as exc:
        raise ConfigurationError(f"[glance]: {exc}") from exc
    return client


def make_application(conf: cfg.ConfigOpts) -> Flask:
    """Return the application for a configuration that was read.

    Raises:
        ConfigurationError: As for ``load_client``.
    """
    settings = read_settings(conf)
    client = load_client(conf, settings)
    images = GlanceImages(client, timeout_s=settings.glance_timeout_s)
    shared = SharedState(settings.store)
    memory = CallerMemory()

    def for_this_request() -> Registry:
        with registry_errors():
            project = images.project_id()
        return open_registry(
            images,
            project=project,
            options=settings.store,
            shared=shared,
            memory=memory,
        )

    return create_app(
        for_this_request,
        chunk_min_length=settings.chunk_min_length,
        data_requests=settings.data_requests,
        manifest_pushes=settings.manifest_pushes,
    )


def _pooled(connections: int) -> requests.Session:
    """Return a session that keeps as many connections to Glance as can be in use at once."""
    http = requests.Session()
    for scheme in ("http://", "https://"):
        http.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=connections))
    return http
