"""The official OCI conformance suite finds nothing wrong and nothing missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devcloud.glance import Glance
from devcloud.registry import Registry
from tests.conformance.run import VERSIONS, find_suite, run_suite
from tests.e2e.glance_view import GlanceView
from tests.e2e.tools import require


@pytest.fixture(scope="module")
def address(e2e_folder: Path, module_glance: Glance) -> Iterator[str]:
    with Registry(e2e_folder / "conformance", glance_url=module_glance.url) as server:
        yield server.authority


@pytest.mark.parametrize("version", VERSIONS)
def test_every_workflow_passes_with_the_strict_options(
    address: str, module_glance: Glance, version: str, tmp_path: Path
) -> None:
    require("conformance")
    suite = find_suite()
    assert suite

    outcome = run_suite(suite, address, version, tmp_path / "results")

    assert (outcome.failed, outcome.skipped) == ((), ()), str(outcome)
    assert (outcome.failures, outcome.skips) == (0, 0)
    assert outcome.passed > 900
    # The suite deletes what it pushed; what it uploaded with a wrong digest it never finishes.
    view = GlanceView(module_glance.url)
    assert view.visible() == []
    assert {image["docker_record"] for image in view.hidden()} <= {"session", "part"}
