"""The store keeps its promises whatever comes between its calls to Glance."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import pytest

from registry_glance.registry.digests import Digest
from tests.interleave.scheduler import Chaos
from tests.interleave.world import CONFIG, LAYERS, REFUSALS, TAGS, SharedSession, World

RUNS = 40
STORMY = Chaos(kills=0.006, glance_faults=0.004, worker_kills=0.004)
LONGEST_DELAY = 60

Scenario = Callable[[World], None]


def client(world: World, name: str, *works: Callable[[], object], longest_delay: int = LONGEST_DELAY) -> None:
    """Let a client do some things, each some time after the last, and give up what is refused."""

    def act() -> None:
        for work in works:
            for _ in range(world.random.randrange(longest_delay)):
                world.scheduler.pause()
            with contextlib.suppress(*REFUSALS):
                work()

    world.scheduler.spawn(name, act)


def pushing(world: World, note: str) -> Callable[[], None]:
    tag, layers = world.random.choice(TAGS), world.random.sample(LAYERS, 2)
    return lambda: world.push(tag, layers, note=note)


def pulling(world: World) -> Callable[[], object]:
    tag = world.random.choice(TAGS)
    return lambda: world.get(tag)


def pushes(world: World) -> None:
    """Several clients move two tags, others pull them."""
    for number in range(3):
        client(world, f"push {number}", *(pushing(world, f"{number}.{i}") for i in range(2)))
    for number in range(2):
        client(world, f"pull {number}", *(pulling(world) for _ in range(4)))


def tag_deletions(world: World) -> None:
    """Tags are moved and deleted at the same time."""
    pushes(world)
    for number in range(2):
        deletions = [partial(world.delete_tag, world.random.choice(TAGS)) for _ in range(3)]
        client(world, f"untag {number}", *deletions)


def manifest_deletions(world: World) -> None:
    """Manifests are put, deleted by digest and put again at the same time."""
    pushes(world)
    digest = Digest.of(world.manifest([LAYERS[0]], note="same").body)
    for number in range(2):
        again = partial(world.push, world.random.choice(TAGS), [LAYERS[0]], note="same")
        client(world, f"push same {number}", again, again)
    client(world, "delete manifest", *[partial(world.delete_manifest, digest)] * 3)


def blob_deletions(world: World) -> None:
    """Blobs are deleted while others push images that need them."""
    for content in [CONFIG, *LAYERS]:
        world.upload(content)
    pushes(world)
    for number in range(2):
        digests = [Digest.of(content) for content in world.random.sample([CONFIG, *LAYERS], 4)]
        client(world, f"delete blob {number}", *(partial(world.delete_blob, d) for d in digests))


def contested_blob(world: World) -> None:
    """One blob is deleted in the very moment in which manifests begin to reference it."""
    for content in (CONFIG, LAYERS[0]):
        world.upload(content)
    delete = partial(world.delete_blob, Digest.of(LAYERS[0]))
    for number in range(2):
        put = partial(world.put, TAGS[number], world.manifest([LAYERS[0]], note=str(number)))
        client(world, f"put {number}", put, longest_delay=15)
        client(world, f"delete blob {number}", delete, longest_delay=15)


def uploads(world: World) -> None:
    """The same few blobs are uploaded by several clients in all ways."""
    for number in range(5):
        contents = world.random.choices(LAYERS, k=2)
        client(world, f"upload {number}", *(partial(world.upload, c) for c in contents))


def impatient_uploads(world: World) -> None:
    """Clients repeat requests of one session while the first ones are still under way."""
    for number in range(2):
        session = SharedSession(world, LAYERS[number], says_starts=world.random.random() < 0.5)
        for repetition in range(3):
            client(world, f"session {number}.{repetition}", session.append, session.finish)


def foreign_patches(world: World) -> None:
    """Glance's users set properties on what is being moved."""
    pushes(world)
    for number in range(3):
        client(world, f"user {number}", *[world.annotate] * 4)


SCENARIOS: list[Scenario] = [
    pushes,
    tag_deletions,
    manifest_deletions,
    blob_deletions,
    contested_blob,
    uploads,
    impatient_uploads,
    foreign_patches,
]


def play(seed: int, scenario: Scenario, chaos: Chaos) -> list[str]:
    """Play one run and return what was wrong, with the trace if anything was."""
    world = World(seed, chaos, freshness_s=seed % 2 * 2.0)
    with world.seeded_ids():
        scenario(world)
        world.scheduler.run()
        world.calm()
        world.scheduler.now += 1000
        wrong = world.losses() + world.history.contradictions()
        if world.glance.open_streams:
            wrong.append(f"{world.glance.open_streams} downloads are still open")
        wrong += retries(world)
    if wrong:
        wrong = [f"{scenario.__name__}, seed {seed}:", *wrong, *world.scheduler.trace]
    return wrong


def retries(world: World) -> list[str]:
    """Whatever failed works when it is tried again in calm weather."""
    wrong = []
    for number, tag in enumerate(TAGS):
        world.scheduler.now += 1
        world.push(tag, [*LAYERS], note=f"retry {number}")
        world.scheduler.now += 1
        if world.get(tag) != world.history.of("put", tag=tag)[-1].digest:
            wrong.append(f"{tag} does not show what was just put")
    for tag in TAGS:
        world.scheduler.now += 1
        world.delete_tag(tag)
        world.scheduler.now += 1
        if world.get(tag) is not None:
            wrong.append(f"{tag} was just deleted")
    return wrong


@pytest.mark.parametrize("chaos", [Chaos(), STORMY], ids=["calm", "stormy"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_store_keeps_its_promises_in_any_order_of_events(scenario: Scenario, chaos: Chaos) -> None:
    for seed in range(RUNS):
        assert play(seed, scenario, chaos) == []
