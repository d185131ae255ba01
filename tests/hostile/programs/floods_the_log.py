import os

log = os.open("/dev/kmsg", os.O_WRONLY)
while True:
    os.write(log, b"<0>" + b"y" * 900)
