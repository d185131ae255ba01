# Address spaces whose tables are all new, while none of this process's is written.
for i in range(2):
    child = subprocess.Popen(
        ["/bin/sh", "-c", "x=$(printf %5000s); while read -r line; do echo $x; done"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    child.stdin.write(b"one\n")
    child.stdin.flush()
    child.stdout.readline()
    KEPT.append(child)
