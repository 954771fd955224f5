"""The embedded service of a mount, asked on its private socket by the methods of a Service."""
import http.client
import socket
import threading

from lib.service import REQUEST_SECONDS, Service, ServiceError


class Embedded(Service):
    """The service inside a mount; it begins and ends with the mount, and needs no token."""

    def __init__(self, mount):    # pylint: disable=super-init-not-called
        self.mount = mount
        self.token = ""
        self.ca = None
        self.host, self.port = "mlenvfs.localhost", 80
        self._local = threading.local()

    @property
    def url(self):
        return f"http://{self.host}"

    def _connection(self):
        if getattr(self._local, "connection", None) is None:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=REQUEST_SECONDS)
            connection.sock = self._socket()
            self._local.connection = connection
        return self._local.connection

    def _socket(self):
        """Daemons that were killed leave sockets behind at which nobody listens."""
        for path in sorted(self.mount.runtime.glob("mlenvfs-*/service"), key=lambda path: -path.stat().st_mtime_ns):
            end = socket.socket(socket.AF_UNIX)
            end.settimeout(REQUEST_SECONDS)
            try:
                end.connect(str(path))
                return end
            except ConnectionRefusedError:
                end.close()
        raise ServiceError(f"no embedded service below {self.mount.runtime}")

    def forget(self):
        """The mount has ended: the next request makes a new connection."""
        self._forget_connection()
