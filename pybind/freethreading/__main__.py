# SPDX-License-Identifier: MIT
"""``python -m freethreading``: what was found on this machine, and why."""

import argparse
import json
import sys

from . import _REASON, __version__, _core, get_backend


def main():
    parser = argparse.ArgumentParser(
        prog="python -m freethreading",
        description="Print what freethreading found on this machine.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    parser.add_argument("--version", action="version", version=__version__)
    arguments = parser.parse_args()
    if arguments.json:
        facts = {
            "version": __version__,
            "backend": get_backend(),
            "reason": _REASON,
            "python": sys.version.split()[0],
            "cpus": _core.cpu_count(),
            "features": _core.features(),
        }
        print(json.dumps(facts, indent=2))
        return
    print(_core.info().rstrip())
    print(f"python    {sys.version.split()[0]} ({sys.executable})")
    print(f"backend   {get_backend()} ({_REASON})")


if __name__ == "__main__":
    main()
