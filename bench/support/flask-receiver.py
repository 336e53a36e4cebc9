"""A receiver of the kind that many teams write: it checks, maps and starts a thread, and stores nothing."""

import hashlib
import hmac
import re
import sys
import threading

from flask import Flask, jsonify, request
from werkzeug.serving import WSGIRequestHandler

SECRET = sys.argv[2].encode()
SERVICE = re.compile(r"^(platform|finance_report/finance_report|bootstrap)/(?:\d+\.)?([a-z0-9][\w.-]*)/")

app = Flask(__name__)


def sync(services):
    """The place of the work, which this bench leaves out."""


@app.post("/webhook")
def webhook():
    body = request.get_data()
    expected = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, request.headers.get("X-Hub-Signature-256", "")):
        return jsonify(error="invalid signature"), 401
    payload = request.get_json()
    paths = set()
    for commit in payload["commits"]:
        for kind in ("added", "modified", "removed"):
            paths.update(commit.get(kind, []))
    matches = filter(None, (SERVICE.match(path) for path in paths))
    services = sorted({f"{match[1].split('/')[0]}/{match[2]}" for match in matches})
    threading.Thread(target=sync, args=(services,)).start()
    return app.response_class(
        '{"status":"accepted","services":%d}' % len(services), mimetype="application/json"
    )


WSGIRequestHandler.protocol_version = "HTTP/1.1"
app.run(host="127.0.0.1", port=int(sys.argv[1]), threaded=True)
