"""Progress for people: one line at a time, coloured where somebody sees it."""

import os
import sys

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def _coloured() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    # iac-runner shows colours in its log pages, though it reads through a pipe.
    watched = os.environ.get("FORCE_COLOR") or os.environ.get("IAC_RESULT_FILE")
    return bool(watched) or sys.stdout.isatty()


def paint(text: str, colour: str) -> str:
    """`text` in a colour, or as it is when nobody would see it."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if _coloured() else text


def say(mark: str, text: str, colour: str = "cyan") -> None:
    """One line of progress, at once."""
    print(f"{paint(mark, colour)} {text}", flush=True)
