listener = socket.create_server(("127.0.0.1", 0))
for _ in range(3):
    client = socket.create_connection(listener.getsockname())
    server = listener.accept()[0]
    server.sendall(b"in flight" * 500)
    KEPT += [client, server]
KEPT.append(listener)
reader, writer = os.pipe()
os.write(writer, b"unread" * 1000)
a, b = socket.socketpair()
socket.send_fds(a, [b"x"], [reader, writer])
KEPT += [a, b]
