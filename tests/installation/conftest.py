"""An index on which the latest releases are broken ones."""

import os
from collections.abc import Mapping

import pytest

from tests.support.packages import BROKEN, broken_release, outside, require_index


@pytest.fixture(scope="session")
def package_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The package index that pip is set up for. Tests are left out without one, but not in CI."""
    require_index(tmp_path_factory.mktemp("index-asked"))


@pytest.fixture(scope="session")
def later_releases(
    package_index: None, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """An environment in which pip finds, beside all else, later releases that are broken."""
    index = tmp_path_factory.mktemp("later-releases")
    for name in BROKEN:
        broken_release(index, name, "9999.0")
    others = os.environ.get("PIP_EXTRA_INDEX_URL", "")
    return outside(PIP_EXTRA_INDEX_URL=f"{others} {index.as_uri()}".strip())
