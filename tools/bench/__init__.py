# SPDX-License-Identifier: MIT
"""The parts of ft-bench, see ft-bench(1)."""
