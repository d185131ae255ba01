# The interpreter itself is turned over.
import builtins
import gc

builtins.print = None
sys.stdout = None
sys.path[:] = ["/nowhere"]
gc.disable()
gc.set_threshold(1)
sys.setrecursionlimit(50)
sys.setswitchinterval(1)
sys.settrace(lambda *_: None)
os.environ.clear()
ctypes.memset(id(10**6 + 3) + 24, 0xFF, 4)
