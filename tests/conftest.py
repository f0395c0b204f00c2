"""What all tests share: the backend is chosen by KERAS_BACKEND, one process each."""

import atexit
import gc
import importlib.metadata
import os
import pathlib
import shutil
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if os.environ.get("KERAS_BACKEND") == "jax":
    # The tests compile hundreds of graphs and run each a few times: what costs is LLVM's optimiser.
    # Flags that are given come last, so that they win.
    _cheap = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    # A flag that another version of XLA does not know would end the process.
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        _cheap += " --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] = f"{_cheap} {os.environ.get('XLA_FLAGS', '')}".strip()
    # Workers and the processes that tests start find what another has compiled already.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        _cache = tempfile.mkdtemp(prefix="jax-cache-")
        atexit.register(shutil.rmtree, _cache, ignore_errors=True)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

# As many processes as processors: threads of one would only wait for those of another.
if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) >= (os.cpu_count() or 1):
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import numpy as np
import pytest

if keras.config.backend() == "tensorflow" and "SHAREDKERAS_TEST_GRAPPLER" not in os.environ:
    import tensorflow as tf

    # Likewise TensorFlow's graph optimiser. The applications that tests start run with it, and with the
    # variable set all do.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

# What the imports made lives as long as the process: no collection need look at it again.
gc.collect()
gc.freeze()

_LONGEST = ("training/test_runs", "tests/apps/", "test_devices", "tests/export/")


@pytest.hookimpl(tryfirst=True)  # Before slow tests are left out.
def pytest_collection_modifyitems(config, items):
    """Put the longest files first, so that no worker ends late, and skip what needs TensorFlow."""
    items.sort(key=lambda item: not any(part in item.nodeid for part in _LONGEST))
    if keras.config.backend() == "tensorflow":
        return
    mark = pytest.mark.skip(reason="needs the TensorFlow backend")
    for item in items:
        if "tensorflow" in item.keywords:
            item.add_marker(mark)
        if "slow_on_jax" in item.keywords:
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture
def short_pauses(monkeypatch):
    """Let a download try again at once."""
    monkeypatch.setattr("zoo.download._PAUSE", 0.01)


@pytest.fixture(scope="session")
def golden():
    """The directory of small extracts from the official tools' outputs."""
    return pathlib.Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden_losses(golden):
    """Loss values and gradients computed in float64 by the official PyTorch tools."""
    with np.load(golden / "losses.npz") as archive:
        return dict(archive)
