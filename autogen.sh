#!/bin/sh
# Makes ./configure from configure.ac.  Only for a git checkout; a release
# tarball has it already.
set -e
cd "$(dirname "$0")"
exec autoreconf -fi
