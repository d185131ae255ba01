child = os.fork()
if child == 0:
    syscall(101, 0, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)
os.waitpid(child, os.WUNTRACED)
OFFSET_OF_DEBUG_REGISTERS = 848
syscall(101, 6, child, OFFSET_OF_DEBUG_REGISTERS, ctypes.addressof(ctypes.c_int()))
syscall(101, 6, child, OFFSET_OF_DEBUG_REGISTERS + 7 * 8, 0x00010001)
