# SPDX-License-Identifier: MIT
"""Where things lie: the package for an interpreter, and the C program."""

import glob
import importlib.util
import os
import sys
import sysconfig

#: The tree that this file belongs to, if it has not been installed.
_TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _in_tree():
    return os.path.exists(os.path.join(_TREE, "configure.ac"))


def _newest(*patterns):
    """The files of the tree that match, the one made last first."""
    if not _in_tree():
        return []
    found = [name for pattern in patterns for name in glob.glob(os.path.join(_TREE, pattern))]
    return sorted(found, key=os.path.getmtime, reverse=True)


def package():
    """See to it that this interpreter, and what it starts, find freethreading:
    as it is, or else in a build folder of the tree.  Returns whether they do."""
    if importlib.util.find_spec("freethreading") is not None:
        return True
    core = os.path.join("python", "freethreading", "_core" + sysconfig.get_config_var("EXT_SUFFIX"))
    for file in _newest(os.path.join("build", "*", core), core):
        folder = os.path.dirname(os.path.dirname(file))
        sys.path.append(folder)
        paths = [os.environ.get("PYTHONPATH"), folder]
        os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        return True
    return False


def backend():
    """The backend of the package, "multiprocessing" or "threading"."""
    import freethreading

    return freethreading.get_backend()


def _sanitized(program):
    """Whether a build's program is one of those that watch themselves, slowly."""
    status = os.path.join(os.path.dirname(os.path.dirname(program)), "config.status")
    try:
        with open(status, encoding="utf-8", errors="replace") as file:
            return "-fsanitize" in file.read()
    except OSError:
        return False


def measurer(installed):
    """The C program: of the build that PYTHONPATH names, of the build folder that
    is the current one, the installed one, or the last one that was built in the
    tree without a sanitizer, or else with one.  None if there is none."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    name = os.path.join("tools", "ft-bench-c")
    names = [os.path.join(path, os.pardir, name) for path in paths if path]
    if _in_tree():
        names.append(name)
    if installed:
        names.append(installed)
    names += sorted(_newest(os.path.join("build", "*", name), name), key=_sanitized)
    return next((os.path.abspath(name) for name in names if os.access(name, os.X_OK)), None)
