def spin():
    while True:
        sum(range(1000))


def sleep():
    while True:
        time.sleep(0.001)


for target in (spin, sleep, threading.Event().wait):
    threading.Thread(target=target, daemon=True).start()
time.sleep(0.02)
