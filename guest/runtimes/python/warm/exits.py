import atexit
import sys

atexit.register(print, "registered")
print("error output", file=sys.stderr)
sys.exit(0)
