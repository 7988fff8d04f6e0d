#!/usr/bin/env bash
# tools/readme-check.py and tools/start-time.py against a small stand-in for
# seqd: they accept what is right and fail on each kind of difference.
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/lib.sh"

cat >"$work/seqd" <<'END'
#!/usr/bin/env python3
import http.server, json, os, signal, sys, time
time.sleep(float(os.environ.get("SLOW", 0)))
class H(http.server.BaseHTTPRequestHandler):
    def reply(self, code, text):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())
    def do_GET(self):
        self.reply(200, "ok")
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        n = 20 if "long" in self.path else 1
        if self.path.startswith("/stream"):
            event = json.dumps({"text": [" long text"] * n})
            self.reply(200, f"data: {event}\n\n" * 2 + "data: [DONE]\n\n")
        elif self.path == "/bad":
            self.reply(400, '{"error":{"code":"x"}}')
        else:
            self.reply(200, json.dumps({"id": str(os.getpid()),
                                        "data": [{"prob": 0.25, "text": "a"}] * n}))
    def log_message(self, *a):
        pass
s = http.server.HTTPServer(("127.0.0.1", 0), H)
f = sys.argv[sys.argv.index("--port-file") + 1]
open(f + ".new", "w").write(str(s.server_address[1]))
os.rename(f + ".new", f)
signal.signal(signal.SIGTERM, lambda *_: os._exit(int(os.environ.get("END", 0))))
s.serve_forever()
END
chmod +x "$work/seqd"

# readme STATUS PATH SHOWN: a README with one checked block.
readme() {
    printf '<!-- checked%s -->\n```sh\ncurl -s localhost:8080%s -d x\n```\n```json\n%s\n```\n' \
        "$1" "$2" "$3" >"$work/README.md"
}
run() { "$top/tools/readme-check.py" --seqd "$work/seqd" "$@" "$work"/*.md; }

accepts() { readme "$@" && run; }
refuses() {
    local why=$1
    shift
    readme "$@" && fails_with "$why" run
}
check readme_accepts_the_answer accepts '' / '{"id":"other","data":[{"prob":0.2501,"text":"a"}]}'
check readme_accepts_a_stream accepts '' /stream 'data: {"text":[" long text"]}

data: {"text":
 [" long text"]}

data: [DONE]'
check readme_accepts_a_stated_error accepts ': 400' /bad '{"error":{"code":"x"}}'
check readme_refuses_a_status refuses 'status .400., expected 200' '' /bad '{"error":{"code":"x"}}'
check readme_refuses_a_missing_key refuses 'keys' '' / '{"data":[{"prob":0.25,"text":"a"}]}'
check readme_refuses_a_text refuses 'data.0..text' '' / '{"id":"1","data":[{"prob":0.25,"text":"b"}]}'
check readme_refuses_a_number refuses 'data.0..prob' '' / '{"id":"1","data":[{"prob":0.26,"text":"a"}]}'
check readme_refuses_a_length refuses 'items' '' / '{"id":"1","data":[]}'
check readme_refuses_a_server_that_ends_badly fails_with 'ended with status 3' \
    env END=3 "$top/tools/readme-check.py" --seqd "$work/seqd" "$work/README.md"
empty() {
    echo 'no block' >"$work/README.md"
    fails_with 'no checked block' run
}
check readme_refuses_a_page_without_blocks empty
update() {
    readme '' / '' && run --update && run && grep -q '"prob":0.25' "$work/README.md"
}
check readme_update_fills_the_output update
wrapped() { # in lines that a reader can read, and reads what it wrote
    readme '' "$1" '' && run --update && run &&
        [ "$(wc -L <"$work/README.md")" -le 100 ] &&
        [ "$(wc -l <"$work/README.md")" -gt 11 ]
}
check readme_update_wraps_an_answer wrapped /long
check readme_update_wraps_a_stream wrapped /stream/long
unmatched() {
    readme '' / '' && printf '<!-- checked -->\ntext\n' >>"$work/README.md"
    fails_with 'checked that is none' run
}
check readme_refuses_a_mark_without_a_block unmatched
folder() { # the first page has blocks, one of the others is wrong, or has none
    cd "$work" && mkdir -p docs && readme '' / '{"id":"1","data":[]}' &&
        mv README.md docs/wrong.md && echo 'no block' >docs/a.md &&
        readme '' / '{"id":"1","data":[{"prob":0.25,"text":"a"}]}' &&
        fails_with 'FAILED docs/wrong.md' \
            "$top/tools/readme-check.py" --seqd "$work/seqd"
}
check readme_checks_the_pages_of_docs folder

start_time() { "$top/tools/start-time.py" --seqd "$work/seqd" --runs 1 --limit-ms "$1"; }
check start_time_accepts_a_quick_start start_time 15000
slow() {
    export SLOW=0.5
    fails_with 'over the limit' start_time 400
}
check start_time_refuses_a_slow_start slow
check start_time_refuses_a_bad_end fails_with 'exit status 3' \
    env END=3 "$top/tools/start-time.py" --seqd "$work/seqd" --runs 1 --limit-ms 15000
finish
