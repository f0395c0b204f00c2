"""Packages that only some of the functions need."""

import importlib.util


def require(package, purpose):
    """Check that a package is installed, without importing it.

    Args:
        package: str, the name it is imported and installed by.
        purpose: str, what it is needed for, the subject of the message.

    Raises:
        ImportError: if it is not installed.
    """
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"{purpose} needs {package}. Install it with `pip install {package}`.")
