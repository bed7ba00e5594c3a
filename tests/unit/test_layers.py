"""Imports point one way, and each foreign library has one owner. Read from the source; nothing is imported here."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("registry_glance", "nova_hook", "nova_virt", "devcloud", "docker_registry")


def source_files(package: str) -> dict[str, Path]:
    """Return the modules of a package by their dotted names."""
    modules = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imports_of(path: Path) -> set[str]:
    """Return all that a module imports, anywhere in it, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they lead"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


REGISTRY: Final = {name: imports_of(path) for name, path in source_files("registry_glance").items()}


def uses(imports: set[str], name: str) -> bool:
    """Whether a module or a part of it is imported."""
    return any(imported == name or imported.startswith(f"{name}.") for imported in imports)


def is_within(module: str, parents: tuple[str, ...]) -> bool:
    return any(module == parent or module.startswith(f"{parent}.") for parent in parents)


COMPOSITION: Final = ("settings", "wsgi", "cli", "server", "worker", "__main__")
# What each part of the registry may import of the rest of it; what is not named here is for the composition.
ALLOWED: Final = {
    "registry": ("registry",),
    "api": ("api", "registry"),
    "store": ("store", "registry"),
    "glance": ("store.images",),
}
OWNERS: Final = {
    "flask": ("api", "wsgi", "server"),
    "werkzeug": ("api",),
    "gunicorn": ("api.wire", "server", "worker"),
    "keystoneauth1": ("glance", "settings", "wsgi"),
    "requests": ("glance", "settings", "wsgi"),
    "urllib3": ("glance", "settings", "wsgi"),
    "oslo_config": ("settings", "wsgi", "cli"),
    "glanceclient": (),
    "docker": (),
    "docker_registry": (),
    "devcloud": (),
    "nova_hook": (),
    "nova": (),
    "tests": (),
}


def test_the_source_was_found() -> None:
    assert {
        "registry_glance.glance",
        "registry_glance.api.app",
        "registry_glance.store.layout",
    } <= REGISTRY.keys()


@pytest.mark.parametrize("module", REGISTRY)
def test_imports_point_one_way(module: str) -> None:
    part = module.split(".")[1] if "." in module else ""
    if part in ("", *COMPOSITION):
        return
    allowed = tuple(f"registry_glance.{name}" for name in ALLOWED[part])

    inside = {name for name in REGISTRY[module] if uses({name}, "registry_glance")}

    assert {name for name in inside if not is_within(name, allowed)} == set()


@pytest.mark.parametrize("library", OWNERS)
def test_a_foreign_library_is_imported_by_its_owners_only(library: str) -> None:
    owners = tuple(f"registry_glance.{name}" for name in OWNERS[library])

    users = {module for module, imports in REGISTRY.items() if uses(imports, library)}

    assert {module for module in users if not is_within(module, owners)} == set()


@pytest.mark.parametrize("part", ["registry", "store"])
def test_the_domain_and_the_store_stand_on_the_standard_library_alone(part: str) -> None:
    foreign = {
        f"{module}: {name}"
        for module, imports in REGISTRY.items()
        if is_within(module, (f"registry_glance.{part}",))
        for name in imports
        if name.partition(".")[0] in OWNERS
    }

    assert foreign == set()


@pytest.mark.parametrize("module", REGISTRY)
def test_only_the_composition_knows_what_it_is_made_of(module: str) -> None:
    composing = tuple(f"registry_glance.{name}" for name in COMPOSITION)
    if is_within(module, composing):
        return

    assert {name for name in REGISTRY[module] if is_within(name, composing)} == set()


@pytest.mark.parametrize(
    ("package", "stranger"),
    [
        ("nova_hook", "registry_glance"),
        ("nova_hook", "devcloud"),
        ("nova_hook", "docker_registry"),
        ("devcloud", "nova_hook"),
        ("nova_virt", "registry_glance"),
        ("docker_registry", "devcloud"),
        ("docker_registry", "nova_hook"),
    ],
)
def test_packages_that_meet_on_the_wire_do_not_import_each_other(package: str, stranger: str) -> None:
    strangers = {name for name, path in source_files(package).items() if uses(imports_of(path), stranger)}

    assert strangers == set()


NOVA_HOOK: Final = {name: imports_of(path) for name, path in source_files("nova_hook").items()}
# What each module of the driver may import of the rest; whatever is not named here imports none of it.
NOVA_HOOK_ALLOWED: Final = {
    "console": (),
    "docker_engine": ("engine", "images", "programs"),
    "driver": (
        *("conf", "console", "docker_engine", "engine", "events", "glance", "host", "images", "instances"),
    ),
    "engine": ("images",),
    "events": ("engine", "instances"),
    "glance": ("images",),
    "host": ("engine",),
    "instances": ("conf", "engine", "images"),
}
NOVA_HOOK_OWNERS: Final = {
    "docker": ("docker_engine",),
    "requests": ("docker_engine",),
    "nova": ("driver",),
    "oslo_config": ("conf",),
    "oslo_serialization": ("driver",),
    "flask": (),
    "keystoneauth1": (),
}


@pytest.mark.parametrize("module", NOVA_HOOK)
def test_imports_of_the_driver_point_one_way(module: str) -> None:
    name = module.partition(".")[2]
    allowed = tuple(f"nova_hook.{other}" for other in NOVA_HOOK_ALLOWED.get(name, ()))

    inside = {imported for imported in NOVA_HOOK[module] if uses({imported}, "nova_hook")} - {"nova_hook"}

    assert {imported for imported in inside if not is_within(imported, allowed)} == set()


@pytest.mark.parametrize("library", NOVA_HOOK_OWNERS)
def test_a_foreign_library_of_the_driver_is_imported_by_its_owner_only(library: str) -> None:
    owners = {f"nova_hook.{name}" for name in NOVA_HOOK_OWNERS[library]}

    assert {module for module, imports in NOVA_HOOK.items() if uses(imports, library)} == owners


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_the_tests(package: str) -> None:
    assert [name for name, path in source_files(package).items() if uses(imports_of(path), "tests")] == []
