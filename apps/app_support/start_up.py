"""How an application starts: the environment of the frameworks, and what they may write."""

import atexit
import logging
import os
import re
import sys
import threading

_NOTE = re.compile(
    rb"[IW]\d{4} \d\d:\d\d:\d\d\.\d+|[IW]0000 00:00:\d+\.\d+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] "
    rb"|WARNING: All log messages before absl::InitializeLog"
)
"""How lines begin that C++ code writes for its developers: information and warnings, not errors."""

_NO_GPU = re.compile(rb"failed call to cuInit.*(\(303\)|no CUDA-capable device)|Unable to register cu")
"""Errors that are none: there is no GPU, or two of the framework's parts know the same library."""

_FORWARDING_SECONDS = 2.0

_terminal = None


def _quieten():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # 'Retracing' tells developers of TensorFlow functions of a cost that a user cannot change.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def hide_notes():
    """Keep the frameworks' notes from the terminal, for the rest of the process.

    C++ code writes to the file descriptor, some of it before any setting applies, so that descriptor is
    read here and its lines are forwarded, but for notes. Python's own `sys.stderr` goes to the terminal
    directly.
    """
    global _terminal
    if _terminal is not None:
        return
    sys.stderr.flush()
    _terminal = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    if sys.stderr is sys.__stderr__:
        sys.stderr = os.fdopen(os.dup(_terminal), "w", buffering=1, errors="backslashreplace")
    forwarder = threading.Thread(target=_forward, args=(reading, _terminal), daemon=True)
    forwarder.start()
    atexit.register(_restore, forwarder)


def _forward(reading, terminal):
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            if not (_NOTE.match(line) or _NO_GPU.search(line)):
                os.write(terminal, line)


def _restore(forwarder):
    os.dup2(_terminal, 2)  # Closes the pipe, unless a child process still holds it.
    forwarder.join(_FORWARDING_SECONDS)


def prepare_frameworks():
    """Make the frameworks, which are loaded when they are first used, fast and quiet."""
    _quieten()
    hide_notes()
    import sharedkeras  # noqa: F401  (sets what TensorFlow reads when it is loaded)
