"""The script that PID 1 starts; runtime.conf has its command line."""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))

import _zeroboot
from zeroboot_guest import loop

del sys.path[0]

loop.main(_zeroboot)
