# SPDX-License-Identifier: MIT
"""The program's side of the spawner: the helper that process workers are cloned from.

The helper is a fresh interpreter that has imported this program's main module
and waits on an unnamed socket.  It is started when the first worker object is
made, so that it gets ready while the program goes on.

A worker is told what has changed in the program since its helper was started,
which most often is nothing, and the process object that it is to run.  Its
payload: two lengths, the authentication key, the pickled changes, the pickled
process object.
"""

import copy
import copyreg
import functools
import io
import multiprocessing.context as _context
import os
import pickle
import struct
import sys
import threading
from multiprocessing import process
from multiprocessing.reduction import ForkingPickler

from . import _core

HEAD = struct.Struct("<II")

#: What tells our handles of processes from the standard library's.
METHOD = "freethreading"

# The helper keeps what `threading` registers for os.fork(): see _helper.
_COMMAND = (
    "import os, sys; sys.path[:] = {sys_path!r}; hooks = []; real = os.register_at_fork;"
    " os.register_at_fork = lambda **hook: hooks.append(hook);"
    " import threading; os.register_at_fork = real;"
    " from freethreading import _helper; _helper.main({known!r}, hooks)"
)

# What the helper is told in its command line: what anybody may read.
_TOLD = (
    "sys_path", "sys_argv", "dir", "orig_dir", "log_to_stderr", "init_main_from_name",
    "init_main_from_path",
)  # fmt: skip

# The kernel takes no argument of more than 128 KiB.
_TOLD_MOST = 64 << 10

_lock = threading.Lock()
_spawner = None
_known = {}  # what the helper was told


class _Elsewhere:
    """The os module for a program whose folder is gone: its workers start where
    it started, or at the root."""

    @staticmethod
    def getcwd():
        first = process.ORIGINAL_DIR
        return first if first and os.path.isdir(first) else "/"

    def __getattr__(self, name):
        return getattr(os, name)


def _standard_data(name):
    from multiprocessing import spawn

    try:
        return spawn.get_preparation_data(name)
    except FileNotFoundError:  # from os.getcwd()
        spawn.os = _Elsewhere()
        try:
            return spawn.get_preparation_data(name)
        finally:
            spawn.os = os


def _preparation_data(name):
    """What a worker needs to know of this program before it can unpickle
    anything: the standard library's own list, without its side effect of
    fixing the default start method."""
    default = _context._default_context
    before = default._actual_context
    try:
        data = _standard_data(name)
    finally:
        default._actual_context = before
    if before is None:
        data.pop("start_method", None)
    # A program read from standard input claims to be the file "<stdin>".
    if os.path.basename(data.get("init_main_from_path", "")).startswith("<"):
        del data["init_main_from_path"]
    return data


def _command():
    from multiprocessing import spawn, util

    global _known
    data = _preparation_data("ignore")
    known = {key: data[key] for key in _TOLD if key in data}
    if len(repr(known)) > _TOLD_MOST:
        known.pop("sys_argv", None)
    _known = copy.deepcopy(known)
    code = _COMMAND.format(sys_path=data["sys_path"], known=known)
    flags = util._args_from_interpreter_flags()
    return [os.fsdecode(spawn.get_executable()), *flags, "-c", code]


def ensure():
    """Return the running spawner, starting it on first use."""
    global _spawner
    with _lock:
        if _spawner is None:
            from multiprocessing import util

            util._flush_std_streams()
            command = _command()
            _watch_forks()
            _spawner = _core.Spawner(command)
        return _spawner


def warm_up():
    """Start the helper early, unless this process is a worker that is only
    being prepared, or the interpreter is about to end."""
    if getattr(process.current_process(), "_inheriting", False):
        from multiprocessing import spawn

        spawn._check_not_importing_main()
    if _spawner is None and not sys.is_finalizing():
        ensure()


def _changes(name):
    data = _preparation_data(name)
    del data["name"], data["authkey"]
    return {key: data[key] for key in data if key not in _known or data[key] != _known[key]}


def payload(popen, process_obj):
    """The bytes for a new worker that is to run `process_obj`, and the primitives that
    they name, which must last until the worker has unpickled them."""
    changes = _changes(process_obj._name)
    authkey = bytes(process.current_process().authkey)
    stream = io.BytesIO()
    before = _context.get_spawning_popen()
    _context.set_spawning_popen(popen)
    try:
        stream.seek(HEAD.size + len(authkey))
        if changes:
            _dump(stream, changes)
        end = stream.tell()
        named = _core.noted(_dump, stream, process_obj)
    finally:
        _context.set_spawning_popen(before)
    stream.seek(0)
    stream.write(HEAD.pack(len(authkey), end - HEAD.size - len(authkey)))
    stream.write(authkey)
    return stream.getbuffer(), named


def _dump(stream, obj):
    """As a ForkingPickler does, without its chain of mappings, which is slow."""
    pickler = pickle.Pickler(stream, 5)
    pickler.dispatch_table = {**copyreg.dispatch_table, **ForkingPickler._extra_reducers}
    pickler.dump(obj)


def _forget():
    global _spawner, _lock
    _spawner = None
    _lock = threading.Lock()
    # They are the parent's: at the child's end nobody is to look after them.  Other
    # processes than ours are the standard library's business.
    ours = [c for c in process._children if getattr(c._popen, "method", "") == METHOD]
    process._children.difference_update(ours)


@functools.cache
def _watch_forks():
    """Not before there is something to forget: helpers and workers have nothing."""
    os.register_at_fork(after_in_child=_forget)
