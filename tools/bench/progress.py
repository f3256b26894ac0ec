# SPDX-License-Identifier: MIT
"""What is being measured, on a line of its own, if somebody watches."""

import sys
import time


class Progress:
    """A line at the bottom of the terminal; nothing where there is none."""

    def __init__(self, total):
        self._total = total
        self._done = 0
        self._start = self._begun = time.monotonic()
        self._shown = sys.stderr.isatty()

    def begin(self, what):
        self._begun = time.monotonic()
        if not self._shown:
            return
        left = ""
        if self._done:
            each = (time.monotonic() - self._start) / self._done
            seconds = int(each * (self._total - self._done))
            left = f", about {seconds // 60}:{seconds % 60:02} left"
        text = f"[{self._done + 1}/{self._total}{left}] {what}"
        sys.stderr.write(f"\r\033[K{text[:100]}")
        sys.stderr.flush()

    def end(self):
        """Make room for the table; returns the seconds since begin."""
        self._done += 1
        self.clear()
        return round(time.monotonic() - self._begun, 3)

    def clear(self):
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
