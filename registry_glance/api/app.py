"""The Flask application: its routes, what every answer carries, and how errors are told."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter

from registry_glance.api import blobs, manifests, search, uploads, wire
from registry_glance.api.gate import DataGate
from registry_glance.registry.errors import NameInvalid, RegistryError, Unsupported
from registry_glance.registry.ports import Registry

LOG = logging.getLogger(__name__)


class _RepositoryConverter(BaseConverter):
    """Takes anything up to the next known part of the URL; whether it is a name is decided by the view.

    So that a malformed name is told as such, and not as a missing page.
    """

    regex = r"(?s:.+?)"
    part_isolating = False


def create_app(
    open_registry: Callable[[], Registry], *, chunk_min_length: int, data_requests: int, manifest_pushes: int
) -> Flask:
    """Return the registry's application.

    Args:
        open_registry: Gives the registry as the caller of the current request sees it.
        chunk_min_length: Bytes that clients are asked to put into one chunk of an upload at least.
        data_requests: How many requests may carry blobs at once; more are told to come again. Fewer than threads.
        manifest_pushes: How many may carry manifests at once, apart from those: a client gives up at once on them.
    """
    gate, manifest_gate = DataGate(data_requests), DataGate(manifest_pushes)
    app = Flask("registry_glance", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
    app.url_map.converters["repository"] = _RepositoryConverter
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.register_blueprint(blobs.routes(open_registry, gate))
    app.register_blueprint(uploads.routes(open_registry, gate, chunk_min_length))
    app.register_blueprint(manifests.routes(open_registry, manifest_gate))
    app.register_blueprint(search.routes(open_registry))

    @app.get("/v2/")
    @app.get("/v2")
    def version() -> Response:  # end-1
        return jsonify({})

    @app.before_request
    def refuse_encoded_slashes() -> None:
        # WSGI decodes the path, and "a%2Fb" would be taken for another resource than the client and a proxy meant.
        path = request.environ.get("RAW_URI", "").partition("?")[0]
        if "%2f" in path.lower():
            raise NameInvalid("an encoded slash")

    @app.after_request
    def name_the_protocol(response: Response) -> Response:
        response.headers["Docker-Distribution-API-Version"] = "registry/2.0"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if response.status_code in (201, 202, 204):
            # Without content there is nothing to name the type of.
            response.headers.pop("Content-Type", None)
        return response

    @app.errorhandler(RegistryError)
    def tell_registry_error(error: RegistryError) -> Response:
        response = wire.error_response(error)
        if response.status_code >= 500:
            LOG.error("%s %r: %s, because of: %s", request.method, request.path, error, error.__cause__)
        return response

    @app.errorhandler(HTTPException)
    def tell_http_error(error: HTTPException) -> Response:
        detail = f"{request.method} {request.path}"
        if isinstance(error, MethodNotAllowed):
            response = wire.error_response(Unsupported(detail), 405)
            response.headers["Allow"] = ", ".join(error.valid_methods or ())
            return response
        if isinstance(error, NotFound):
            return wire.error_response(Unsupported(f"no such endpoint: {detail}"), 404)
        return wire.error_response(RegistryError(error.description), error.code)

    @app.errorhandler(Exception)
    def tell_bug(error: Exception) -> Response:
        LOG.error("%s %r failed", request.method, request.path, exc_info=error)
        return wire.error_response(RegistryError())

    return app
