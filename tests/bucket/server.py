"""The part of Google Cloud Storage's JSON API that TensorStore speaks, over the same folder as sitecustomize.py."""

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LOCK = threading.Lock()


def handler(root: Path) -> type[BaseHTTPRequestHandler]:
    generations: dict[Path, int] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_) -> None:
            """Silent."""

        def answer(self, code: int, body: bytes = b"", **headers) -> None:
            self.send_response(code)
            for name, value in {"Content-Length": len(body), **headers}.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()
            self.wfile.write(body)

        def parts(self) -> tuple[str, str | None, dict[str, str]]:
            """(bucket, object, query) of a request's address."""
            address = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(address.query).items()}
            found = re.fullmatch(r"(?:/upload)?/storage/v1/b/([^/]+)/o(?:/(.*))?", address.path)
            return found[1], unquote(found[2]) if found[2] else query.get("name"), query

        def about(self, path: Path, bucket: str) -> dict:
            size, generation = path.stat().st_size, generations.setdefault(path, 1)
            name = str(path.relative_to(root / bucket))
            return {"name": name, "size": str(size), "generation": str(generation), "bucket": bucket}

        def refused(self, path: Path, query: dict) -> bool:
            wanted = query.get("ifGenerationMatch")
            now = generations.setdefault(path, 1) if path.is_file() else 0
            return wanted is not None and int(wanted) != now

        def do_POST(self) -> None:
            bucket, name, query = self.parts()
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = root / bucket / name
            with LOCK:
                if self.refused(path, query):
                    return self.answer(412)
                path.parent.mkdir(parents=True, exist_ok=True)
                generations[path] = generations.get(path, 1) + 1
                path.write_bytes(data)
                self.answer(200, json.dumps(self.about(path, bucket)).encode())

        def do_GET(self) -> None:
            bucket, name, query = self.parts()
            with LOCK:
                if name is None:
                    files = [path for path in sorted((root / bucket).rglob("*")) if path.is_file()]
                    found = [self.about(path, bucket) for path in files]
                    items = [item for item in found if item["name"].startswith(query.get("prefix", ""))]
                    return self.answer(200, json.dumps({"items": items}).encode(), Content_Type="application/json")
                path = root / bucket / name
                if not path.is_file():
                    return self.answer(404)
                about, data = self.about(path, bucket), path.read_bytes()
            if query.get("alt") != "media":
                return self.answer(200, json.dumps(about).encode())
            if query.get("ifGenerationNotMatch") == about["generation"]:
                return self.answer(304)
            headers = {"x_goog_generation": about["generation"]}
            if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                first, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
                headers["Content_Range"] = f"bytes {first}-{min(last, len(data) - 1)}/{len(data)}"
                return self.answer(206, data[first : last + 1], **headers)
            self.answer(200, data, **headers)

        def do_DELETE(self) -> None:
            bucket, name, query = self.parts()
            path = root / bucket / name
            with LOCK:
                if self.refused(path, query):
                    return self.answer(412)
                if not path.is_file():
                    return self.answer(404)
                path.unlink()
                self.answer(204)

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_) -> None:
        """A client that was killed is no error."""


@contextmanager
def serving(root: Path):
    """Environment variables with which a process takes `root` for all buckets."""
    server = Server(("127.0.0.1", 0), handler(root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {
            "FAKE_BUCKETS": str(root),
            "TENSORSTORE_GCS_HTTP_URL": f"http://127.0.0.1:{server.server_port}",
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
        }
    finally:
        server.shutdown()
