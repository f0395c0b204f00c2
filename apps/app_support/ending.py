"""How an application ends: finished, by an error, by Ctrl-C, by a signal, on a full disk."""

import contextlib
import errno
import shlex
import signal
import subprocess
import sys

from absl import app

WRONG_USE = 2
NOT_WRITTEN = 1
_FULL = [number for number, name in errno.errorcode.items() if name in ("ENOSPC", "EDQUOT")]
_PATIENCE = 10.0  # Seconds that a child has to end.
_go_on = None


class _Terminated(BaseException):
    """SIGTERM, as an exception, so that files and child processes are dealt with as after Ctrl-C."""


def on_stop(go_on):
    """Say how to go on if the application is stopped from here.

    Args:
        go_on: function without arguments that returns the text, or None for nothing to be said.
    """
    global _go_on
    _go_on = go_on


def again(*flags):
    """Return the command that starts this application again.

    Args:
        *flags: str, further flags, for what is given otherwise; of a flag that is there twice the last
            one counts.
    """
    return shlex.join(["python", *sys.argv, *(flag for flag in flags if flag not in sys.argv)])


def fail(error, code=WRONG_USE):
    """End the program with an error's message alone: a traceback helps nobody who mistyped a flag."""
    print(f"\nError: {error}", file=sys.stderr)
    sys.exit(code)


def run(main):
    """Run an application, and end it with one message and the exit code that shells expect.

    0 finished; 1 finished, but a file was not written where it should be, or the disk is full; 2 wrong
    flags, files or data; 130 Ctrl-C; 143 SIGTERM.

    Args:
        main: function of the command line's arguments, as for `absl.app.run`.
    """
    app.run(lambda argv: guarded(main, argv))


def guarded(main, argv):
    """Call an application's main function; `run` without the parsing of flags."""
    with contextlib.suppress(ValueError):  # Only a process's main thread can.
        signal.signal(signal.SIGTERM, _terminate)
    try:
        main(argv)
    except KeyboardInterrupt:
        _stopped(128 + signal.SIGINT)
    except _Terminated:
        _stopped(128 + signal.SIGTERM)
    except OSError as error:
        if error.errno in _FULL:
            fail(f"The disk is full: {error}.{_advice()}", NOT_WRITTEN)
        fail(error)
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        fail(error)


def run_child(command):
    """Run another application and wait for it; it does not outlive this one.

    Args:
        command: list of str.

    Returns:
        Its exit code.
    """
    child = subprocess.Popen(command)
    try:
        return child.wait()
    except BaseException:
        child.terminate()  # Not killed at once, so that it ends its own children.
        try:
            child.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
        raise


def _terminate(number, frame):
    raise _Terminated


def _stopped(code):
    # A second Ctrl-C while this is said and cleaned up would only bring a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(f"\nStopped.{_advice()}", file=sys.stderr)
    sys.exit(code)


def _advice():
    text = None if _go_on is None else _go_on()
    return "" if text is None else f" {text}"
