"""The errors are one set with the table of their statuses, and their codes are known ones."""

from __future__ import annotations

import pytest

from registry_glance.api.wire import STATUSES
from registry_glance.registry.errors import RegistryError

# OCI distribution-spec 1.1, "Error Codes".
OCI_CODES = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
}
# distribution, docs/content/spec/api.md and registry/api/errcode.
DOCKER_CODES = {"PAGINATION_NUMBER_INVALID", "RANGE_INVALID", "TAG_INVALID", "UNAVAILABLE", "UNKNOWN"}


def _class_name(error: type[RegistryError]) -> str:
    return error.__name__


def error_classes(root: type[RegistryError] = RegistryError) -> list[type[RegistryError]]:
    return [root, *(error for child in root.__subclasses__() for error in error_classes(child))]


def test_every_error_has_a_status_and_every_status_an_error() -> None:
    assert set(STATUSES) == set(error_classes())


def test_every_code_of_the_specification_has_an_error() -> None:
    assert {error.code for error in error_classes()} >= OCI_CODES


@pytest.mark.parametrize("error", error_classes(), ids=_class_name)
def test_every_code_is_the_specifications_or_dockers(error: type[RegistryError]) -> None:
    assert error.code in OCI_CODES | DOCKER_CODES


@pytest.mark.parametrize("error", error_classes(), ids=_class_name)
def test_statuses_are_those_of_errors(error: type[RegistryError]) -> None:
    assert 400 <= STATUSES[error] <= 503


def test_an_error_is_printed_with_the_facts_of_its_case() -> None:
    assert str(RegistryError("upload 7f3a")) == "unknown error: upload 7f3a"
    assert str(RegistryError()) == "unknown error"
