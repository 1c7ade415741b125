"""Fixtures shared by the tests of checkpoints."""

import pytest
from checkpoint_runs import prepare


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The configuration of a tiny run."""
    return prepare(tmp_path_factory.mktemp("tiny"))
