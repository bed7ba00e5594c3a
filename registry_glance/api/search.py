"""Docker's v1 search, which ``docker search HOST:PORT/term`` still speaks: it lists what is in Glance."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, jsonify, request

from registry_glance.registry.ports import Registry

_PAGE_SIZE = 25
_MAX_PAGE_SIZE = 100


def routes(open_registry: Callable[[], Registry]) -> Blueprint:
    """Return the routes of the search.

    Args:
        open_registry: Gives the registry as the caller of the current request sees it.
    """
    blueprint = Blueprint("search", __name__)

    @blueprint.get("/v1/_ping")
    def ping() -> Response:
        response = jsonify(True)  # noqa: FBT003 - the body that the v1 protocol has
        response.headers["X-Docker-Registry-Version"] = "0.9.1"
        response.headers["X-Docker-Registry-Standalone"] = "true"
        return response

    @blueprint.get("/v1/search")
    def search() -> Response:
        term = request.args.get("q", "")
        size = _number("n", _PAGE_SIZE, _MAX_PAGE_SIZE)
        number = _number("page", 1, 1_000_000)
        names = [str(name) for name in open_registry().manifests.repositories()]
        # Docker's clients put "library/" before a plain name.
        needle = term.removeprefix("library/").lower()
        found = [name for name in names if needle in name]
        shown = found[(number - 1) * size : number * size]
        return jsonify(
            query=term,
            num_results=len(found),
            num_pages=-(-len(found) // size),
            page=number,
            page_size=size,
            results=[
                {
                    "name": name,
                    "description": "",
                    "star_count": 0,
                    "is_official": False,
                    "is_automated": False,
                }
                for name in shown
            ],
        )

    return blueprint


def _number(key: str, default: int, most: int) -> int:
    text = request.args.get(key, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        return default
    return max(1, min(int(text), most))
