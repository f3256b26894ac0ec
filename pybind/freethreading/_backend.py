# SPDX-License-Identifier: MIT
"""Which kind of worker this program uses, decided at each import of the package."""

import os
import sys

#: The backend of the program that this process is a worker of.
inherited = None

_WISHES = {
    "": None,
    "auto": None,
    "threads": "threading",
    "threading": "threading",
    "processes": "multiprocessing",
    "multiprocessing": "multiprocessing",
}


def decide():
    """Return ``"threading"`` or ``"multiprocessing"``, and why.

    ``FT_BACKEND=threads`` or ``FT_BACKEND=processes`` in the environment
    decides; otherwise the interpreter does: threads where the GIL is off.
    """
    if inherited:
        return inherited, "as in the program that started this worker"
    wish = os.environ.get("FT_BACKEND", "").strip().lower()
    if wish not in _WISHES:
        raise ImportError(f"FT_BACKEND={wish!r} is not known: say threads, processes or auto")
    if _WISHES[wish]:
        return _WISHES[wish], f"FT_BACKEND={wish}"
    gil_enabled = getattr(sys, "_is_gil_enabled", None)
    if gil_enabled is None:
        return "multiprocessing", "this Python has a GIL"
    if gil_enabled():
        return "multiprocessing", "the GIL is enabled"
    return "threading", "the GIL is disabled"
