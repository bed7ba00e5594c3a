"""docker-registry-core's own driver suite, pointed at our driver; run by nose in its environment.

The tests are those of ``docker_registry.testing``; here are only the subclasses that name the scheme.
"""

from docker_registry import testing  # type: ignore[attr-defined]


class TestQuery(testing.Query):  # type: ignore[misc]  # docker-registry-core has no types
    def __init__(self) -> None:
        super().__init__(scheme="glance")


class TestDriver(testing.Driver):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(scheme="glance", path="", config=testing.Config({}))
