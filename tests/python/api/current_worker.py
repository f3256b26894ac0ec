# SPDX-License-Identifier: MIT
from freethreading import current_worker

print(current_worker().name)
