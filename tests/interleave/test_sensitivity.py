"""The runs of ``test_store`` notice when a step of the protocols is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from registry_glance.store import manifest_writer, tags
from registry_glance.store.blobs import GlanceBlobs
from registry_glance.store.manifest_writer import ManifestWriter
from registry_glance.store.references import References
from registry_glance.store.tags import TagHolders
from tests.interleave.scheduler import Chaos
from tests.interleave.test_store import Scenario, contested_blob, play, pushes

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_glance.store.images import GlanceImage

RUNS = 200


def by_id_only(image: GlanceImage) -> tuple[int, str]:
    return 0, image.id


def nothing(*_: object) -> None:
    pass


OMISSIONS: dict[str, tuple[Scenario, list[tuple[Any, str, Callable[..., object]]]]] = {
    "holders-are-not-ordered": (
        pushes,
        [(tags, "effective_order", by_id_only), (manifest_writer, "effective_order", by_id_only)],
    ),
    "former-holders-are-not-demoted": (pushes, [(TagHolders, "settle", nothing)]),
    "references-are-not-checked": (
        contested_blob,
        [(ManifestWriter, "_check_references", nothing)],
    ),
    "deletions-ignore-references": (contested_blob, [(References, "contain", lambda *_: False)]),
    "fates-are-not-decided": (
        contested_blob,
        [(GlanceBlobs, "_settle_fate", lambda _self, _copy, wish: wish)],
    ),
}


@pytest.mark.parametrize(("scenario", "patches"), OMISSIONS.values(), ids=OMISSIONS.keys())
def test_runs_notice_an_omission(
    monkeypatch: pytest.MonkeyPatch,
    scenario: Scenario,
    patches: list[tuple[Any, str, Callable[..., object]]],
) -> None:
    for owner, name, replacement in patches:
        monkeypatch.setattr(owner, name, replacement)

    assert any(play(seed, scenario, Chaos()) for seed in range(RUNS))
