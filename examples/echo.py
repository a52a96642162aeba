"""The upstream of the examples: answers with who it is and what it saw, as text.

    echo.py PORT NAME
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        lines = [f"{NAME} {self.command} {self.path}"]
        lines += sorted(f"{name.lower()}: {value}" for name, value in self.headers.items())
        body = "".join(line + "\n" for line in lines).encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.send_header("x-powered-by", "python")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


PORT, NAME = int(sys.argv[1]), sys.argv[2]
ThreadingHTTPServer(("127.0.0.1", PORT), Echo).serve_forever()
