# SPDX-License-Identifier: MIT
"""Which kind of worker this program uses, decided once at import."""

import os
import sys


def choose():
    """Return ``"threading"`` or ``"multiprocessing"``.

    ``FT_BACKEND=threads`` or ``FT_BACKEND=processes`` in the environment
    decides; otherwise the interpreter does: threads where the GIL is off.
    """
    wish = os.environ.get("FT_BACKEND", "").strip().lower()
    if wish in ("threads", "threading"):
        return "threading"
    if wish in ("processes", "multiprocessing"):
        return "multiprocessing"
    if wish not in ("", "auto"):
        raise ImportError(
            f"FT_BACKEND={wish!r} is not known: say threads, processes or auto"
        )
    gil_enabled = getattr(sys, "_is_gil_enabled", None)
    return "multiprocessing" if gil_enabled is None or gil_enabled() else "threading"
