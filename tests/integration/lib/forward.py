"""Something between a client and a service that looks at what passes, or changes it."""
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lib.service import REQUEST_SECONDS

HOP = ("content-length", "connection", "date", "transfer-encoding")


class Forwarder:
    """Plain HTTP on a free port of 127.0.0.1; a client takes it for the service."""

    def __init__(self, service):
        self.service = service
        self.token, self.ca = service.token, None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_args):    # pylint: disable=arguments-differ
                pass

            def handle_request(self):
                outer.forward(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def forward(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.service.host, self.service.port, timeout=REQUEST_SECONDS)
        try:
            # The Host that it was asked by goes along: links lead back here.
            connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            data = self.change(request.path, answer.status, answer.read())
        finally:
            connection.close()
        self.seen(request.command, request.path, request.headers, body, answer.status)
        request.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in HOP:
                request.send_header(name, value)
        length = answer.headers.get("Content-Length") if request.command == "HEAD" else None
        request.send_header("Content-Length", length or str(len(data)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)

    def change(self, path, status, data):    # pylint: disable=unused-argument
        """The body that the client gets."""
        return data

    def seen(self, method, target, headers, body, status):
        """A request that was answered."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
