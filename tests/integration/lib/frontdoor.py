"""
A TLS front door of a service, and everything that can be wrong with one: a reverse proxy on a port of 127.0.0.1 whose
certificate is signed by a CA of its own. What goes wrong is chosen while it runs.
"""
import http.client
import select
import socket
import ssl
import struct
import subprocess
import threading

HOST = "door.mlenvfs.test"  # for clients that tests/tools/noname.c tells where that is
HOLD_SECONDS = 60
IDLE_SECONDS = 120
HEAD_MAX = 256 * 1024
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset

# At the connection: what a client finds before it can ask anything.
AT_CONNECTION = {"refuse", "drop", "no TLS", "wrong certificate"}
# At a request that has not been passed on.
BEFORE = {"reset", "half-close", "stall"}
# At the answer to a request that has been carried out.
AFTER = {"too long a length", "cut off", "stall in the body", "lost"}


def make_certificates(folder):
    """ca.pem, and right.pem and wrong.pem (for another host) signed by it, with their keys."""
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test CA",
            "-addext", "basicConstraints=critical,CA:TRUE")
    for name, host in (("right", HOST), ("wrong", "elsewhere.test")):
        names = f"DNS:{host}" if name == "wrong" else f"DNS:localhost,DNS:{host}"
        (folder / f"{name}.ext").write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={host}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", f"{name}.ext", "-out", f"{name}.pem")


def _context(folder, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


class FrontDoor:
    """https://localhost:port for a Service, or another name for it; folder holds what make_certificates() made."""

    def __init__(self, service, folder, name="localhost"):
        self.service = service
        self.token = service.token
        self.right, self.wrong = _context(folder, "right"), _context(folder, "wrong")
        self.fault = None
        self._lock = threading.Lock()
        self._open = set()
        self._released = threading.Event()
        self._ended = False
        self._listener = self._listen(0)
        self.port = self._listener.getsockname()[1]
        self.host = f"{name}:{self.port}"
        self.url = f"https://{self.host}"

    def _listen(self, port):
        listener = socket.create_server(("127.0.0.1", port), backlog=128)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def go_wrong(self, fault):
        """From now on; what is open is cut. None: all is well again."""
        if self.fault == "refuse" and fault != "refuse":
            self._listener = self._listen(self.port)
        self._released.set()
        with self._lock:
            self._released = threading.Event()
            self.fault = fault
            connections = list(self._open)
        if fault == "refuse":
            self._stop_listening()
        for connection in connections:
            _cut(connection)

    def _stop_listening(self):
        # Who waits in accept() is woken by this only.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self):
        self._ended = True
        self.go_wrong(None)
        self._stop_listening()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    # ---- connections ----

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, raw):
        with self._lock:
            self._open.add(raw)
        try:
            self._serve_tls(raw)
        except (OSError, ValueError, http.client.HTTPException):
            pass  # whoever was there has gone, or was cut off
        finally:
            with self._lock:
                self._open.discard(raw)
            raw.close()

    def _serve_tls(self, raw):
        raw.settimeout(IDLE_SECONDS)
        if self.fault == "drop":
            self._hold(raw)
            return
        if self.fault == "no TLS":
            raw.recv(1)
            raw.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        context = self.wrong if self.fault == "wrong certificate" else self.right
        # The descriptor stays raw's, for _cut().
        with context.wrap_socket(raw.dup(), server_side=True) as tls:
            tls.settimeout(IDLE_SECONDS)
            upstream = http.client.HTTPConnection(self.service.host, self.service.port, timeout=IDLE_SECONDS)
            try:
                while self._serve_one(raw, tls, upstream):
                    pass
            finally:
                upstream.close()

    def _hold(self, raw):
        """Says nothing until all is well again, or the client has gone."""
        released = self._released
        for _ in range(HOLD_SECONDS * 20):
            if released.wait(0.05) or select.select([raw], [], [], 0)[0] and not raw.recv(65536, socket.MSG_PEEK):
                return

    def _serve_one(self, raw, tls, upstream):
        request = _read_request(tls)
        if request is None:
            return False
        if self.fault in BEFORE:
            return self._fail_before(raw)
        method, target, headers, body = request
        upstream.request(method, target, body=body, headers=headers)
        answer = upstream.getresponse()
        data = answer.read()
        if "json" in (answer.getheader("Content-Type") or ""):
            data = self._as_https(data)
        return self._answer(raw, tls, method, answer, data)

    def _as_https(self, data):
        data = data.replace(f"http://{self.host}".encode(), self.url.encode())
        return data.replace(b'"protocol":"http"', b'"protocol":"https"')

    def _fail_before(self, raw):
        if self.fault == "reset":
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            _cut(raw)
        elif self.fault == "half-close":
            raw.shutdown(socket.SHUT_WR)
            self._hold(raw)
        else:
            self._hold(raw)
        return False

    def _answer(self, raw, tls, method, answer, data):
        fault = self.fault
        length = int(answer.getheader("Content-Length") or 0) if method == "HEAD" else len(data)
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "keep-alive"):
                lines.append(f"{name}: {self._as_https(value.encode()).decode()}")
        lines.append(f"Content-Length: {length + 10 if fault == 'too long a length' else length}")
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        if fault == "lost":
            return False
        if fault in ("cut off", "stall in the body"):
            tls.sendall(head[:-2] + data[:0] if not data else head + data[:len(data) // 2])
            if fault == "stall in the body":
                self._hold(raw)
            return False
        tls.sendall(head + data)
        return fault is None


def _cut(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _read_request(tls):
    """(method, target, headers, body), or None at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = tls.recv(65536)
        if not piece or len(data) > HEAD_MAX:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    length = int(next((value for name, value in headers.items() if name.lower() == "content-length"), 0))
    while len(body) < length:
        piece = tls.recv(65536)
        if not piece:
            return None
        body += piece
    headers = {name: value for name, value in headers.items() if name.lower() != "connection"}
    return method, target, headers, body if method in ("PUT", "POST") else None
