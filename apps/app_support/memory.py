"""How much memory an application took."""

import sys


def peak_memory():
    """Return the largest resident memory so far of this process or one it waited for, such as '1.25 GB'.

    On Windows it is that of this process; 'unknown' where neither module that tells it can be loaded.
    """
    try:
        import resource  # Late: a module of Unix.
    except ImportError:
        return _peak_on_windows()
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(w).ru_maxrss for w in who)
    return _text(peak * (1 if sys.platform == "darwin" else 1024))


def _peak_on_windows():
    try:
        import psutil  # Late: on Unix it loads `resource` itself.
    except ImportError:
        return "unknown"
    return _text(psutil.Process().memory_info().peak_wset)


def _text(size):
    return f"{size / 1e9:.2f} GB"
