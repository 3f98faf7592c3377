"""For a machine with a CUDA GPU: `pytest -n 4 tests/gpu`. Elsewhere all of it is skipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.gpu import setting


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        here = Path(__file__).parent
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="no GPU"))


@pytest.fixture
def exact() -> Iterator[None]:
    """Convolutions in full fp32, always by the same kernels: cuDNN's own choice is TF32, with 10 bits of mantissa."""
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic
    cudnn.allow_tf32, cudnn.deterministic = False, True
    yield
    cudnn.allow_tf32, cudnn.deterministic = before


@pytest.fixture(params=setting.METHODS)
def method(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
