# SPDX-License-Identifier: MIT
"""The program's side of the spawner: the helper that process workers are cloned from.

The helper is a fresh interpreter that has imported this program's main module
and waits on an unnamed socket.  It is started when the first worker object is
made, so that it gets ready while the program goes on.
"""

import multiprocessing.context as _context
import os
import sys
import threading
from multiprocessing import process, spawn, util

from . import _core

_COMMAND = (
    "import sys; sys.path[:] = {path!r};"
    " from freethreading import _helper; _helper.main({main!r})"
)

_lock = threading.Lock()
_spawner = None


def preparation_data(name):
    """What a worker needs to know of this program before it can unpickle
    anything: the standard library's own list, without its side effect of
    fixing the default start method."""
    default = _context._default_context
    before = default._actual_context
    try:
        data = spawn.get_preparation_data(name)
    finally:
        default._actual_context = before
    if before is None:
        data.pop("start_method", None)
    # A program read from standard input claims to be the file "<stdin>".
    if os.path.basename(data.get("init_main_from_path", "")).startswith("<"):
        del data["init_main_from_path"]
    return data


def _command():
    data = preparation_data("ignore")
    main = {
        key: data[key]
        for key in ("init_main_from_name", "init_main_from_path")
        if key in data
    }
    code = _COMMAND.format(path=data["sys_path"], main=main)
    flags = util._args_from_interpreter_flags()
    return [os.fsdecode(spawn.get_executable()), *flags, "-c", code]


def ensure():
    """Return the running spawner, starting it on first use."""
    global _spawner
    with _lock:
        if _spawner is None:
            util._flush_std_streams()
            _spawner = _core.Spawner(_command())
        return _spawner


def warm_up():
    """Start the helper early, unless this process is a worker that is only
    being prepared, or the interpreter is about to end."""
    if getattr(process.current_process(), "_inheriting", False):
        spawn._check_not_importing_main()
    if not sys.is_finalizing():
        ensure()


def _forget():
    global _spawner, _lock
    _spawner = None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)
