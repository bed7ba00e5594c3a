"""Runs the official OCI distribution conformance suite and says what passed, failed and was skipped.

``make conformance`` starts a Glance and a registry for it; ``run.py --registry HOST:PORT`` takes one that runs already.
All workflows are on (pull, push, content discovery, content management), for each version of the specification, with
the options that the suite leaves off for 1.1: digest headers, cancelling an upload, tags as parameters.

Source: github.com/opencontainers/distribution-spec, ``conformance/``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from devcloud.errors import DevcloudError
from devcloud.glance import Glance
from devcloud.registry import Registry

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = PROJECT / "build" / "conformance"
VERSIONS = ("1.1", "dev")
TIMEOUT_S = 1200

# Off in 1.1 unless asked for. OCI_DATA_SPARSE stays as the suite has it, off: the registry refuses a manifest that
# refers to what was never pushed, as the specification allows.
STRICT = {
    "OCI_API_BLOBS_DIGEST_HEADER": "true",
    "OCI_API_BLOBS_UPLOAD_CANCEL": "true",
    "OCI_API_MANIFESTS_DIGEST_HEADER": "true",
    "OCI_API_MANIFESTS_TAG_PARAM": "true",
}


class ConformanceError(Exception):
    """The suite could not be run, or gave no verdict."""


@dataclass(frozen=True)
class Outcome:
    """What one run of the suite found.

    Attributes:
        version: Of the specification, as the suite names it.
        total: Checks, those that were skipped included.
        failed: What each failed check is called, with its errors.
        skipped: What each check is called that the registry does not support, or that is switched off, with the reason.
        failures: Failed checks by the suite's own count; one test may hold several.
        skips: Skipped checks, counted likewise.
    """

    version: str
    total: int
    failures: int
    skips: int
    failed: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def passed(self) -> int:
        """Checks that passed."""
        return self.total - self.failures - self.skips

    def __str__(self) -> str:
        """Say it in the closing line."""
        return f"{self.passed} passed, {self.failures} failed, {self.skips} skipped"


def find_suite() -> Path | None:
    """Return the suite's program: ours if tests/prepare built one, else the machine's."""
    path = shutil.which("conformance", path=PROJECT / ".tools" / "bin")
    return Path(path) if path else None


def run_suite(suite: Path, address: str, version: str, results: Path) -> Outcome:
    """Run the suite once against a registry.

    Args:
        suite: Its program.
        address: ``host:port`` of the registry, plain HTTP.
        version: ``1.1`` or ``dev``.
        results: A directory for its reports; what an earlier run left there is removed.

    Raises:
        ConformanceError: There is no verdict. The suite ends with 0 on a configuration error, and writes no results.
    """
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    # A name of its own for each run: what an interrupted one left does not matter.
    repository = f"conformance/{uuid.uuid4().hex[:12]}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OCI_")}
    settings = {
        "OCI_REGISTRY": address,
        "OCI_TLS": "disabled",
        "OCI_REPO1": f"{repository}/repo1",
        "OCI_REPO2": f"{repository}/repo2",
        "OCI_VERSION": version,
        "OCI_RESULTS_DIR": str(results),
        "OCI_LOG": "error",
    }
    process = subprocess.run(
        [str(suite)],
        env={**inherited, **STRICT, **settings, "NO_PROXY": "*"},
        cwd=results,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    (results / "output.txt").write_text(process.stdout)
    for name in ("results.yaml", "junit.xml"):
        if not (results / name).is_file():
            last_line = (process.stdout.strip().splitlines() or ["it printed nothing"])[-1]
            raise ConformanceError(f"version {version}: no {name}: {last_line}")
    outcome = read_report(results / "junit.xml", version)
    if process.returncode and not outcome.failures:
        raise ConformanceError(f"version {version}: exit {process.returncode}, but no failure")
    return outcome


def read_report(path: Path, version: str) -> Outcome:
    """Read the suite's JUnit report."""
    root = ET.parse(path).getroot()  # noqa: S314 - our own child wrote it
    count = {
        name: int(root.get(name) or 0) for name in ("tests", "failures", "errors", "skipped", "disabled")
    }
    named: dict[str, list[str]] = {"passed": [], "skipped": [], "failure": [], "error": []}
    for test in root.iter("testcase"):
        errors = "; ".join((test.findtext("system-out") or "").split("\n")).strip()
        name = (test.get("name") or "").removeprefix("OCI Conformance Test/")
        named[test.get("status") or "error"].append(f"{name}: {errors}" if errors else name)
    return Outcome(
        version=version,
        total=count["tests"],
        failures=count["failures"] + count["errors"],
        skips=count["skipped"] + count["disabled"],
        failed=tuple(named["failure"] + named["error"]),
        skipped=tuple(named["skipped"]),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite for each version, name what failed or was skipped, and return the exit status."""
    parser = argparse.ArgumentParser(description="Run the official OCI conformance suite.")
    parser.add_argument("--registry", metavar="HOST:PORT", help="default: start one over a new Glance")
    parser.add_argument("--version", action="append", choices=VERSIONS, help="default: all of them")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the reports go")
    options = parser.parse_args(arguments)
    suite = find_suite()
    if suite is None:
        sys.stderr.write("conformance: the suite is not built; run tests/prepare (it needs Go)\n")
        return 2
    try:
        with ExitStack() as stack:
            address = options.registry or start_registry(stack)
            outcomes = [
                report(run_suite(suite, address, version, options.results / version))
                for version in options.version or VERSIONS
            ]
    except (ConformanceError, DevcloudError, subprocess.TimeoutExpired) as exc:
        sys.stderr.write(f"conformance: {exc}\n")
        return 2
    sys.stdout.write(f"reports: {options.results}\n")
    for outcome in outcomes:
        sys.stdout.write(f"conformance {outcome.version}: {outcome}\n")
    return 1 if any(outcome.failures for outcome in outcomes) else 0


def start_registry(stack: ExitStack) -> str:
    """Start a Glance and a registry that end with the stack; return the registry's address."""
    data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-")))
    glance = stack.enter_context(Glance(data / "glance"))
    registry = stack.enter_context(Registry(data / "registry", glance_url=glance.url))
    return registry.authority


def report(outcome: Outcome) -> Outcome:
    """Print what did not pass."""
    for verdict, names in (("FAILED", outcome.failed), ("skipped", outcome.skipped)):
        for name in names:
            sys.stdout.write(f"{outcome.version} {verdict}: {name}\n")
    return outcome


if __name__ == "__main__":
    sys.exit(main())
