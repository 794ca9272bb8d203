from __future__ import annotations

import sys
from pathlib import Path

import pytest

from image_cri_shim.private_libraries import find
from tests.test_layers import SOURCES, imported


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """The directory of the libraries that the system has; the name is one that nobody has."""
    (tmp_path / "system").mkdir()
    return tmp_path / "system"


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """The directory with the private copy of a library."""
    (tmp_path / "private" / "nobodys_library").mkdir(parents=True)
    (tmp_path / "private" / "nobodys_library" / "__init__.py").touch()
    return tmp_path / "private"


def test_a_library_that_the_system_lacks_is_found_in_the_private_copy(
    system: Path, private: Path
) -> None:
    path = [str(system)]
    find("nobodys_library", str(private), path)
    assert path == [str(system), str(private)]


def test_a_library_that_the_system_has_is_used_as_it_is(system: Path, private: Path) -> None:
    (system / "nobodys_library").mkdir()
    (system / "nobodys_library" / "__init__.py").touch()
    path = [str(system)]
    find("nobodys_library", str(private), path)
    assert path == [str(system)]


def test_without_a_private_copy_nothing_changes(system: Path, tmp_path: Path) -> None:
    path = [str(system)]
    find("nobodys_library", str(tmp_path / "absent"), path)
    assert path == [str(system)]


def test_grpclib_is_only_imported_where_the_private_copy_has_been_looked_for() -> None:
    assert any(one.startswith("image_cri_shim.private_libraries") for one in imported("cri"))
    early = {
        name
        for name in SOURCES
        if not name.startswith("cri.")
        and any(one.partition(".")[0] == "grpclib" for one in imported(name, deep=False))
    }
    assert early == set()


def test_nothing_is_added_where_grpclib_is_installed() -> None:
    import grpclib

    import image_cri_shim.cri

    private = image_cri_shim.private_libraries.DIRECTORY
    assert (private in sys.path) == grpclib.__file__.startswith(f"{private}/")
