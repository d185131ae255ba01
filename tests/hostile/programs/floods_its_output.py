import os

while True:
    os.write(1, b"z" * 65536)
    os.write(2, b"z" * 65536)
    print("z" * 65536)
