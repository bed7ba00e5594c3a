"""Measures the data path: memory of one large push, and its speed beside the same bytes put straight into Glance.

    python -m benchmarks.run [--size MIB] [--rounds N]

Figures are ratios measured in one run, the two sides taking turns; single times of a busy machine mean little.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import requests

from benchmarks.processes import MemoryWatch, cpu_seconds
from devcloud.glance import Glance
from devcloud.registry import Registry

_MIB = 1024 * 1024
_CLIENT_CHUNK = 32 * 1024
"""Bytes in one chunk of Docker's PATCH (docker 20.10)."""


class Layer:
    """A layer of any size that needs no memory: one random mebibyte, counted up at its start.

    Args:
        mebibytes: Its size.
    """

    def __init__(self, mebibytes: int) -> None:
        self._filler = uuid.uuid4().bytes * (_MIB // 16 - 1)
        self._nonce = uuid.uuid4().bytes
        self._count = mebibytes
        self.size = mebibytes * _MIB
        digest = hashlib.sha256()
        for block in self._blocks():
            digest.update(block)
        self.digest = f"sha256:{digest.hexdigest()}"

    def chunks(self) -> Iterator[bytes]:
        """Yield it as Docker sends it."""
        for block in self._blocks():
            for start in range(0, len(block), _CLIENT_CHUNK):
                yield block[start : start + _CLIENT_CHUNK]

    def _blocks(self) -> Iterator[bytes]:
        for number in range(self._count):
            yield (self._nonce[:8] + number.to_bytes(8)) + self._filler


def push(registry: str, layer: Layer) -> float:
    """Push a layer as Docker does, and return the seconds it took."""
    started = time.perf_counter()
    answer = requests.post(f"{registry}/v2/bench/blobs/uploads/", timeout=60)
    answer.raise_for_status()
    answer = requests.patch(registry + answer.headers["Location"], data=layer.chunks(), timeout=600)
    answer.raise_for_status()
    location = f"{registry}{answer.headers['Location']}&digest={layer.digest}"
    requests.put(location, timeout=60).raise_for_status()
    return time.perf_counter() - started


def put(glance: str, layer: Layer) -> float:
    """Put the same bytes into Glance directly, and return the seconds it took."""
    started = time.perf_counter()
    image_id = str(uuid.uuid4())
    requests.post(
        f"{glance}/v2/images",
        json={"id": image_id, "container_format": "docker", "disk_format": "raw", "os_hidden": True},
        timeout=60,
    ).raise_for_status()
    requests.put(
        f"{glance}/v2/images/{image_id}/file",
        data=layer.chunks(),
        headers={"Content-Type": "application/octet-stream"},
        timeout=600,
    ).raise_for_status()
    elapsed = time.perf_counter() - started
    requests.delete(f"{glance}/v2/images/{image_id}", timeout=60).raise_for_status()
    return elapsed


def pull(url: str) -> float:
    """Read something to its end, and return the seconds it took."""
    started = time.perf_counter()
    with requests.get(url, stream=True, timeout=600) as answer:
        answer.raise_for_status()
        for _ in answer.raw.stream(_MIB):
            pass
    return time.perf_counter() - started


def measure_memory(glance: Glance, registry: Registry, mebibytes: int) -> None:
    """Push and pull one large layer and print what it added to each process's memory."""
    layer = Layer(mebibytes)
    push(registry.url, Layer(1))
    roots = {registry.process.pid: "registry", glance.process.pid: "glance"}
    with MemoryWatch(roots) as watch:
        push(registry.url, layer)
        pull(f"{registry.url}/v2/bench/blobs/{layer.digest}")
    print(f"memory while one layer of {mebibytes} MiB is pushed and pulled: before, at the most, grown")
    for memory in watch.memory.values():
        print(f"  {memory}")
    requests.delete(f"{registry.url}/v2/bench/blobs/{layer.digest}", timeout=60).raise_for_status()


def measure_speed(glance: Glance, registry: Registry, mebibytes: int, rounds: int) -> None:
    """Push and pull through the registry and directly, in turn, and print the ratios."""
    pushes, puts, pulls, gets = [], [], [], []
    cpu_before = cpu_seconds(registry.process.pid)
    for _ in range(rounds):
        layer = Layer(mebibytes)
        puts.append(put(glance.url, layer))
        pushes.append(push(registry.url, layer))
        blob = f"{registry.url}/v2/bench/blobs/{layer.digest}"
        hidden = f"{glance.url}/v2/images?os_hidden=true&os_hash_value={layer.digest[7:]}"
        image_id = requests.get(hidden, timeout=60).json()["images"][0]["id"]
        gets.append(pull(f"{glance.url}/v2/images/{image_id}/file"))
        pulls.append(pull(blob))
        requests.delete(blob, timeout=60).raise_for_status()
    cpu = (cpu_seconds(registry.process.pid) - cpu_before) / rounds
    print(f"one layer of {mebibytes} MiB, medians of {rounds}:")
    for what, ours, theirs in (("push", pushes, puts), ("pull", pulls, gets)):
        ratio = statistics.median(o / t for o, t in zip(ours, theirs, strict=True))
        print(
            f"  {what}: registry {mebibytes / statistics.median(ours):6.0f} MiB/s, "
            f"Glance alone {mebibytes / statistics.median(theirs):6.0f} MiB/s, time ratio {ratio:.2f}"
        )
    print(f"  CPU of the registry: {cpu:.2f} s for a push and a pull")


def main() -> None:
    """Start a Glance and a registry on loopback, measure, and stop them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=256, help="MiB of the layers whose speed is measured")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-size", type=int, default=2048, help="MiB of the layer for memory")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Glance(Path(folder, "glance")) as glance,
        Registry(Path(folder, "registry"), glance.url) as registry,
    ):
        measure_memory(glance, registry, options.memory_size)
        measure_speed(glance, registry, options.size, options.rounds)


if __name__ == "__main__":
    main()
