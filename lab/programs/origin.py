"""An origin whose behaviour its port chooses: origin.py ADDRESS CERTIFICATE KEY

Ports: 4501 resets on the ClientHello, 4502 closes on it, 4503 resets after its flight began,
4504 closes then, 4505 resets once the handshake is done, 4506 resets within the answer,
4507 answers and closes with unread data, so that its kernel resets, 4508 answers as it should,
4509 sends a fatal handshake_failure, 4510 answers with bytes that are no TLS,
4511 passes on to 4508 with a bit of its 3rd record flipped, 4512 with one of the client's 3rd,
4513 asks for TLS 1.1 only, 4514 answers, waits, and lets the client end, 4515 has ALPN "odd" only.
"""
import socket
import ssl
import struct
import sys
import threading

address, certificate, key = sys.argv[1:]
LINGER = struct.pack("ii", 1, 0)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    connection.close()


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


def memory(connection):
    """A TLS server that does not send by itself: its flight can be cut."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context().wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(connection.recv(65536))
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def flight(connection, end):
    flight = memory(connection)
    connection.sendall(flight[: len(flight) // 2])
    end(connection)


def answered(connection, then):
    tls = context().wrap_socket(connection, server_side=True)
    tls.recv(65536)
    tls.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
    then(tls)


def polite(tls):
    try:
        tls.unwrap()
    except (OSError, ValueError):
        pass
    tls.close()


def unread(connection):
    tls = context().wrap_socket(connection, server_side=True)
    tls.recv(1)
    tls.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
    # Data that is never read makes the kernel reset on close (RFC 2525 section 2.17).
    tls.sendall(b"x" * 20000)
    threading.Event().wait(0.05)
    connection = tls.detach()
    socket.socket(fileno=connection).close()


def after_handshake(connection):
    tls = context().wrap_socket(connection, server_side=True)
    reset(tls)


def within_answer(connection):
    tls = context().wrap_socket(connection, server_side=True)
    tls.recv(65536)
    tls.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"x" * 20000)
    threading.Event().wait(0.05)
    reset(tls)


def relay(connection, flip_server):
    behind = socket.create_connection((address, 4508))

    def pump(source, target, flips):
        records, buffer = 0, b""
        while True:
            data = source.recv(65536)
            if not data:
                break
            buffer += data
            while len(buffer) >= 5 and len(buffer) >= 5 + int.from_bytes(buffer[3:5], "big"):
                length = 5 + int.from_bytes(buffer[3:5], "big")
                record, buffer = bytearray(buffer[:length]), buffer[length:]
                records += record[0] in (22, 23)
                if flips and records == 3:
                    record[-1] ^= 1
                    records += 100
                target.sendall(bytes(record))
        try:
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    threads = [
        threading.Thread(target=pump, args=(connection, behind, not flip_server)),
        threading.Thread(target=pump, args=(behind, connection, flip_server)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    connection.close()
    behind.close()


def raw(data):
    def serve(connection):
        connection.recv(65536)
        connection.sendall(data)
        connection.close()

    return serve


def patient(connection):
    tls = context().wrap_socket(connection, server_side=True)
    while tls.recv(65536):
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
    tls.close()


def odd_alpn(connection):
    made = context()
    made.set_alpn_protocols(["odd"])
    answered_with(made, connection)


def answered_with(made, connection):
    tls = made.wrap_socket(connection, server_side=True)
    tls.recv(65536)
    tls.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
    polite(tls)


PORTS = {
    4501: lambda c: (c.recv(65536), reset(c)),
    4502: lambda c: (c.recv(65536), c.close()),
    4503: lambda c: flight(c, reset),
    4504: lambda c: flight(c, lambda c: c.close()),
    4505: after_handshake,
    4506: within_answer,
    4507: unread,
    4508: lambda c: answered(c, polite),
    4509: raw(b"\x15\x03\x03\x00\x02\x02\x28"),
    4510: raw(b"HTTP/1.0 400 Bad Request\r\n\r\nthis is no TLS\n"),
    4511: lambda c: relay(c, True),
    4512: lambda c: relay(c, False),
    4513: raw(b"\x15\x03\x01\x00\x02\x02\x46"),
    4514: patient,
    4515: odd_alpn,
}


def listen(port, serve):
    server = socket.create_server((address, port))

    def handle(connection):
        try:
            serve(connection)
        except (OSError, ValueError):
            connection.close()

    while True:
        connection, _ = server.accept()
        threading.Thread(target=handle, args=(connection,), daemon=True).start()


for port, serve in PORTS.items():
    threading.Thread(target=listen, args=(port, serve)).start()
print("ready", flush=True)
