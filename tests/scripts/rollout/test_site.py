import http.client
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loadtests.balancer import UNPACKED
from scripts.rollout.site import name_of, sites

has_haproxy = UNPACKED.exists() or shutil.which("haproxy", path="/usr/sbin:/usr/bin:/sbin")
pytestmark = pytest.mark.skipif(not has_haproxy, reason="no haproxy here: `make rollout` fetches it")


class Ready(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def test_requests_to_servers_that_are_not_there_go_to_the_one_that_is_which_is_named(tmp_path):
    with sites(tmp_path) as site:
        server = ThreadingHTTPServer(("127.0.0.1", site.ports[2]), Ready)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        connection = http.client.HTTPConnection(site.url.removeprefix("http://"))
        told = set()
        for _ in range(50):
            connection.request("POST", "/rerank", b"{}")
            response = connection.getresponse()
            response.read()
            told.add((response.status, response.headers["x-served-by"]))
        connection.close()
        server.shutdown()
        thread.join()
        server.server_close()
    assert told == {(200, name_of(2))}
