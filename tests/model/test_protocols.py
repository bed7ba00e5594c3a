"""The protocols of ``docs/consistency.md`` lose nothing, whatever comes between their steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.model.protocols import Variant
from tests.model.simulation import Simulation

RUNS = 500

CONDITIONS: dict[str, Callable[[int], Simulation]] = {
    "calm": lambda seed: Simulation(seed, Variant()),
    "replicas-are-killed": lambda seed: Simulation(seed, Variant(), kills=0.01),
    "others-patch": lambda seed: Simulation(seed, Variant(grace=60), foreign_patches=True),
    "killed-and-patched": lambda seed: Simulation(seed, Variant(grace=60), kills=0.01, foreign_patches=True),
}


@pytest.mark.parametrize("simulation", CONDITIONS.values(), ids=CONDITIONS.keys())
def test_protocols_lose_nothing_that_was_acknowledged(
    simulation: Callable[[int], Simulation],
) -> None:
    runs = [simulation(seed) for seed in range(RUNS)]

    violations = [violation for run in runs for violation in run.run()]

    assert violations == []
    # Only then did the runs put to the test what they are for.
    assert sum(len(run.acknowledged) for run in runs) > 20 * RUNS
    assert sum(run.collected for run in runs) > 2 * RUNS


@pytest.mark.parametrize(
    "variant",
    [
        Variant(checks_before_commit=False, decides_fates=False),
        Variant(decides_fates=False),
    ],
    ids=["checks-afterwards-and-no-fates", "no-fates"],
)
def test_model_notices_what_a_naive_protocol_loses(variant: Variant) -> None:
    violations = [v for seed in range(RUNS // 2) for v in Simulation(seed, variant).run()]

    assert any("is lost" in violation for violation in violations)


def test_runs_can_be_repeated_by_their_seed() -> None:
    first, second = (Simulation(7, Variant(), kills=0.01) for _ in range(2))

    assert first.run() == second.run()
    assert first.acknowledged == second.acknowledged
