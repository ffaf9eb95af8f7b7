"""The control: a server that does nothing but answer, so that the machine's own gaps can be told from the service's."""

import socketserver
import threading

from trial.helper import until_left_alone

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'


class Answers(socketserver.BaseRequestHandler):
    """One connection: every request is answered alike."""

    def handle(self) -> None:
        """Answer until the client leaves."""
        while self.request.recv(65536):
            self.request.sendall(ANSWER)


class NullServer(socketserver.ThreadingTCPServer):
    """A thread for every connection."""

    daemon_threads = True


def main() -> None:
    """Serve until nobody holds the standard input."""
    with NullServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        until_left_alone()


if __name__ == "__main__":
    main()
