import queue
import threading
from concurrent.futures import ThreadPoolExecutor

lock, results, work = threading.Lock(), [], queue.Queue()


def worker():
    while (item := work.get()) is not None:
        with lock:
            results.append(item * item)


thread = threading.Thread(target=worker)
thread.start()
for i in range(5):
    work.put(i)
work.put(None)
thread.join()
with ThreadPoolExecutor(2) as pool:
    print(sorted(results), list(pool.map(len, ["a", "bb"])))
