import gc
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # the helpers beside the tests, such as transcription.py


def pytest_collection_finish():
    """What was imported never dies: a fifteenth of the time of all tests goes into looking through it again and again.

    gc.freeze would be the word for it, but under it hypothesis 6.100 calls a test flaky.
    """
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    torch.set_num_threads(1)
