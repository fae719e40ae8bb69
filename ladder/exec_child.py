"""Become another program that dies with its parent. Run as a script, by path: it imports nothing of Ladder.

    python -I -S exec_child.py SIGNAL PARENT USER COMMAND…

SIGNAL reaches the program when the thread that started it ends, however that happened (Linux; elsewhere the program
outlives a parent that was killed). USER is the account to become, "-" for none: Postgres refuses to run as root. The
program then keeps root's right to pass directories that USER may not enter, so that data and binaries may lie
anywhere, also below /root; it keeps no other right.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _become(libc: ctypes.CDLL, user: str) -> None:
    account = pwd.getpwnam(user)
    if sys.platform == "linux":
        _check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl(PR_SET_KEEPCAPS)")
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    if sys.platform == "linux":
        only = 1 << CAP_DAC_OVERRIDE
        data = (_Data * 2)(_Data(only, only, only), _Data(0, 0, 0))
        _check(libc.capset(ctypes.byref(_Header(CAPABILITY_VERSION_3, 0)), data), "capset")
        # Ambient, because an exec would otherwise drop it.
        _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0), "prctl(PR_CAP_AMBIENT)")


def main(signal: int, parent: int, user: str, command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if user != "-":
        _become(libc, user)
    if sys.platform == "linux":
        # After the change of user, which clears it.
        _check(libc.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before the signal was set
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
