"""A run's pages in a browser: a server of this computer alone."""

from __future__ import annotations

import socketserver
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from string import Template

from edgedet.escape import html_text

HOST = "127.0.0.1"
REPORT, DETECTOR = "/report.html", "/detector.html"
_TITLES = {REPORT: "Report", DETECTOR: "Try it"}
_FRAME = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
:root{color-scheme:light dark}
body{margin:0;height:100vh;display:flex;flex-direction:column;font:15px/1.5 system-ui,sans-serif}
nav{padding:6px 16px;border-bottom:1px solid #8888;display:flex;gap:16px;flex-wrap:wrap}
iframe{border:0;flex:1;width:100%}
</style>
</head>
<body>
<nav><strong>$title</strong>$links$notes</nav>
<iframe name="view" title="page" src="$first" allow="camera"></iframe>
</body>
</html>
""")


@dataclass(frozen=True)
class Viewer:
    """What is served."""

    title: str
    pages: Mapping[str, bytes]  # REPORT, DETECTOR -> HTML in UTF-8; at least one
    notes: tuple[str, ...] = ()  # why one is missing

    def frame(self) -> bytes:
        """The page around both."""
        links = "".join(f'<a href="{path}" target="view">{_TITLES[path]}</a>' for path in self.pages)
        notes = "".join(f"<span>{html_text(note)}</span>" for note in self.notes)
        text = _FRAME.substitute(title=html_text(self.title), links=links, notes=notes, first=next(iter(self.pages)))
        return text.encode("utf-8")

    def server(self, port: int = 0) -> socketserver.TCPServer:
        """A server that answers from now on, once `serve_forever` runs.

        Args:
            port: of this computer; 0: any that is free.
        Raises:
            OSError: the port is taken.
        """
        return _Server((HOST, port), _handler({"/": self.frame(), **self.pages}))


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def _handler(answers: Mapping[str, bytes]) -> type[BaseHTTPRequestHandler]:
    """GET of these paths and nothing else, for whoever calls the server by its own address.

    The Host header is compared: a page of elsewhere whose name is made to point here must not read the run.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = self.headers.get("Host", "").partition(":")[0].lower()
            content = answers.get(self.path.partition("?")[0]) if address in (HOST, "localhost") else None
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the terminal belongs to the user."""

    return Handler
