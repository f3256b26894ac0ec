# SPDX-License-Identifier: MIT
"""Runs a command in which the kernel refuses some system calls.

    python3 sandbox.py NAME=ERROR[,NAME=ERROR...] COMMAND...

NAME is one of CALLS, ERROR an errno's name.  `memfd_noexec` stands for
memfd_create with the flag that Linux 6.3 brought: as a kernel before it, or a
sandbox that knows old flags only."""

import ctypes
import errno
import os
import platform
import struct
import sys

MFD_NOEXEC_SEAL = 8
NEW = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "futex_waitv": 449,
}
OLD = {
    "x86_64": {
        "ioctl": 16,
        "mbind": 237,
        "set_mempolicy": 238,
        "get_mempolicy": 239,
        "memfd_noexec": 319,
    },
    "aarch64": {
        "ioctl": 29,
        "mbind": 235,
        "get_mempolicy": 236,
        "set_mempolicy": 237,
        "memfd_noexec": 279,
    },
}
CALLS = {**NEW, **OLD[platform.machine()]}

LOAD, JUMP_EQUAL, JUMP_SET, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2


def program(refusals):
    """The filter's instructions, (code, jump if true, if false, operand)."""
    code = []
    for name, error in refusals.items():
        answer = (RETURN, 0, 0, ERRNO | getattr(errno, error))
        code.append((LOAD, 0, 0, 0))  # the number of the call
        if name == "memfd_noexec":
            code.append((JUMP_EQUAL, 0, 3, CALLS[name]))
            code.append((LOAD, 0, 0, 16 + 8))  # its second argument
            code.append((JUMP_SET, 0, 1, MFD_NOEXEC_SEAL))
        else:
            code.append((JUMP_EQUAL, 0, 1, CALLS[name]))
        code.append(answer)
    return [*code, (RETURN, 0, 0, ALLOW)]


def confine(refusals):
    code = b"".join(struct.pack("HBBI", *line) for line in program(refusals))
    lines = ctypes.create_string_buffer(code, len(code))
    fprog = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(lines))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, MODE_FILTER, ctypes.c_char_p(fprog)
    ):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    confine(dict(item.split("=") for item in sys.argv[1].split(",")))
    os.execvp(sys.argv[2], sys.argv[2:])
