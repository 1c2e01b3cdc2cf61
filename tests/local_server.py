"""A server on this machine that misbehaves as told."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

BODY = bytes(range(256)) * 4096


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the tests


@pytest.fixture
def server():
    """A server whose next answers are in `plan`; an empty plan means: serve the file as a good one would.

    `files` are served by their path, anything else is `body`. `plans` holds a plan of its own for a path.
    """
    state = SimpleNamespace(
        plan=[], plans={}, seen=[], paths=[], body=BODY, files={}, etag='"one"', ranges=True, kind=None,
        length=True, busy=0, most_busy=0,
    )  # fmt: skip
    guard = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            with guard:
                state.seen.append(self.headers.get("Range"))
                state.paths.append(self.path)
                plan = state.plans.get(self.path, state.plan)
                fault = plan.pop(0) if plan else None
                state.busy += 1
                state.most_busy = max(state.busy, state.most_busy)
            try:
                self._answer(fault)
            finally:
                with guard:
                    state.busy -= 1

        def _answer(self, fault):
            if isinstance(fault, tuple):
                self.send_response(fault[0])
                for name, value in fault[1].items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            wanted, body = self.headers.get("Range"), state.files.get(self.path, state.body)
            same = self.headers.get("If-Range") == state.etag
            start = int(wanted[6:-1]) if wanted and same and state.ranges else 0
            rest = body[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            if state.length:
                self.send_header("Content-Length", str(len(rest)))
            if state.kind:
                self.send_header("Content-Type", state.kind)
            self.send_header("ETag", state.etag)
            self.end_headers()
            half = len(rest) // 2
            if isinstance(fault, float):
                self.wfile.write(rest[: int(fault * len(rest))])
            elif fault == "cut":
                self.wfile.write(rest[:half])
            elif fault == "stall":
                self.wfile.write(rest[:half])
                self.wfile.flush()
                time.sleep(1)
            elif fault == "slow":
                time.sleep(0.1)
                self.wfile.write(rest)
            else:
                self.wfile.write(rest)

    http = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    state.site = f"http://127.0.0.1:{http.server_port}"
    state.url = f"{state.site}/file.bin"
    yield state
    http.shutdown()
    http.server_close()
