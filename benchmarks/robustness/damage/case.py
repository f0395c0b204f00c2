"""One damaged input, and what may become of it."""

import collections.abc
import dataclasses
import re
import warnings

OUTCOMES = ("refused by name", "right", "wrong", "unclear", "crashed")
_REFUSALS = (ValueError, FileNotFoundError, FileExistsError)
_EXPECTATION = re.compile(r"\b(expect\w*|must|needs?)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Case:
    """A damaged input.

    Args:
        name: str, the damage.
        act: function without arguments that gives the input to the library.
        named: str that a refusal must name: the file, as a rule.
        is_right: function of what `act` returned that tells whether that was right; by default nothing
            is, so that the input must be refused.
    """

    name: str
    act: collections.abc.Callable
    named: str
    is_right: collections.abc.Callable = lambda result: False


def judge(case):
    """Return the outcome of a case, one of `OUTCOMES`, and what was said."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = case.act()
        except _REFUSALS as error:
            said = str(error)
            is_clear = case.named in said and _EXPECTATION.search(said)
            return ("refused by name" if is_clear else "unclear"), said
        except Exception as error:
            return "crashed", f"{type(error).__name__}: {error}"
    is_right = case.is_right(result)
    return ("right" if is_right else "wrong"), "" if is_right else f"taken: {str(result)[:200]}"
