"""How spans of time are told."""

__all__ = ["duration"]


def duration(seconds):
    """Write seconds as people say them: '40 s', '12 min', '3 h 05 min', '4 days 6 h'.

    Args:
        seconds: float, at least 0.

    Returns:
        str.
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} days {hours % 24} h"
