# SPDX-License-Identifier: MIT
"""Which kind of worker this program uses, decided at each import of the package."""

import os
import sys

#: The backend of the program that this process is a worker of.
inherited = None

#: Where it is off at first, CPython warns of the extension module that turns it on.
_ENABLED = (
    "the GIL is enabled"
    if "free-threading" not in sys.version
    else "the GIL is enabled, by PYTHON_GIL=1, -X gil=1 or a module that CPython warned of"
)

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
    decides; otherwise the interpreter does: threads where the GIL is off.  A
    module that turns the GIL on later slows threads down and changes no result.
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
        return "multiprocessing", _ENABLED
    return "threading", "the GIL is disabled"
