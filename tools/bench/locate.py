# SPDX-License-Identifier: MIT
"""Where things lie: the package for an interpreter, and the C program."""

import glob
import importlib.util
import os
import sys
import sysconfig

#: The tree that this file belongs to, if it has not been installed.
_TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _newest(*patterns):
    """The files of the tree that match, the one made last first."""
    if not os.path.exists(os.path.join(_TREE, "configure.ac")):
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


def measurer(installed):
    """The C program: of the build that PYTHONPATH names, the installed one, or
    the last one that was built in the tree.  None if there is none."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    names = [os.path.join(path, os.pardir, "tools", "ft-bench-c") for path in paths if path]
    if installed:
        names.append(installed)
    name = os.path.join("tools", "ft-bench-c")
    names += _newest(os.path.join("build", "*", name), name)
    return next((os.path.abspath(name) for name in names if os.access(name, os.X_OK)), None)
