/* The first page of seqd: boxes that ask the server they came from. No library,
 * no outside resource. SPDX-License-Identifier: MIT */
"use strict";

function el(name, className, text) {
    const e = document.createElement(name);
    if (className)
        e.className = className;
    if (text !== undefined)
        e.textContent = text;
    return e;
}

function percent(p) {
    return (100 * p).toFixed(p < 0.1 ? 2 : 1) + " %";
}

/* A box: its parts by name. */
function box(id) {
    const section = document.getElementById(id);
    return {
        section: section,
        form: section.querySelector("form"),
        text: section.querySelector("textarea"),
        model: section.querySelector("select"),
        languages: section.querySelector("select[name=target]"),
        look: section.querySelector(".look"),
        button: section.querySelector("button[type=submit]"),
        stop: section.querySelector("button.stop"),
        out: section.querySelector("output"),
        models: [],
        run: null
    };
}

/* ----------------------------------------------------------------- asking */

/* The API key of this tab, where the server wants one. */
let key = "";
try {
    key = sessionStorage.getItem("seqd-key") || "";
} catch (e) {
    /* no storage here: the page alone keeps it */
}

function keepKey(value) {
    key = value;
    document.getElementById("forget").hidden = !value;
    try {
        if (value)
            sessionStorage.setItem("seqd-key", value);
        else
            sessionStorage.removeItem("seqd-key");
    } catch (e) {
        /* as above */
    }
}

/* Show the field for the key, and why. */
function wantKey(say) {
    const field = document.getElementById("key-text");
    keepKey("");
    document.getElementById("key").hidden = false;
    document.getElementById("key-say").textContent = say;
    field.value = "";
    field.focus();
}

/* What a refusal says, by its status; its own message stands between. */
const REFUSALS = {
    413: ["This is too much text: ", "."],
    429: ["The server is busy: ", "."],
    500: ["The server failed: ", ". Its log says why."],
    503: ["The server cannot answer now: ", "."],
    504: ["It took too long: ", "."]
};

function refusal(status, error, wait) {
    const said = error.message || "status " + status;
    const around = REFUSALS[status] || ["", ""];
    let text = around[0] + said + around[1];
    if (status === 500 && error.request_id)
        text += " Look for " + error.request_id + ".";
    return wait ? text + " Try again in " + wait + " s." : text;
}

/* The error of an answer that is none, whoever wrote it (a proxy, say). */
async function failure(response) {
    let error = {};
    try {
        error = (await response.json()).error || {};
    } catch (e) {
        if (e.name === "AbortError")
            return e;
    }
    const wrong = error.code !== "missing_api_key" || key !== "";
    const e = new Error(response.status !== 401
        ? refusal(response.status, error, response.headers.get("Retry-After"))
        : wrong ? "The server does not know this key."
            : "This server asks for an API key.");
    e.status = response.status;
    e.param = error.param;
    if (response.status === 401)
        wantKey(e.message);
    return e;
}

async function call(path, more) {
    const options = Object.assign({headers: {}}, more);
    let response;
    if (key) /* a header holds bytes */
        options.headers.Authorization = "Bearer " +
            String.fromCharCode(...new TextEncoder().encode(key));
    try {
        response = await fetch(path, options);
    } catch (e) {
        throw e.name === "AbortError" ? e
            : new Error("The server does not answer.");
    }
    if (!response.ok)
        throw await failure(response);
    return response;
}

function post(path, body, signal) {
    return call(path, {
        method: "POST",
        headers: {"Content-Type": "application/json"},
        body: JSON.stringify(body),
        signal: signal
    });
}

async function answer(path, body, signal) {
    return (await post(path, body, signal)).json();
}

function showError(b, message) {
    const p = el("p", "error", message);
    p.setAttribute("role", "alert");
    if (b.out.contains(document.activeElement))
        b.text.focus();
    b.out.replaceChildren(p);
}

function working(b, yes) {
    b.out.setAttribute("aria-busy", String(yes));
    if (!b.stop)
        return;
    if (!yes && document.activeElement === b.stop)
        b.button.focus();
    b.stop.hidden = !yes;
}

/* Wire a box: fn draws into b.out; errors are handled here. Asking again ends
 * what was asked before. */
function wire(b, fn) {
    b.form.addEventListener("submit", async event => {
        event.preventDefault();
        if (b.button.disabled)
            return;
        if (b.run)
            b.run.abort();
        const run = b.run = new AbortController();
        working(b, true);
        try {
            await fn(b, run.signal);
        } catch (e) {
            if (b.run === run)
                showError(b, e.message);
        }
        if (b.run === run)
            working(b, false);
    });
    b.text.addEventListener("keydown", event => {
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            b.form.requestSubmit();
        }
    });
    if (b.stop)
        b.stop.addEventListener("click", () => b.run.abort());
}

/* The entry of /v1/models that is chosen in a box. */
function chosen(b) {
    return b.models.find(m => m.id === b.model.value) || {};
}

/* Of characters a text is what it is: music, code; else it is prose. */
function isPlain(b) {
    return chosen(b).level === "character";
}

/* Too long a text is cut, and the answer says so. */
function request(b, more) {
    const body = Object.assign({input: b.text.value, truncate: true}, more);
    if (b.model.value)
        body.model = b.model.value;
    return body;
}

/* What was not read of a text, `kept` is the part that was, and how it was. */
function readNote(b, item, kept) {
    const piece = isPlain(b) ? "character" : "word";
    const cut = item.truncated
        ? " Only the " + kept + " of the text was read: it is too long for the "
            + "model." : "";
    const parts = item.windows > 1
        ? " It was read in " + item.windows + " parts." : "";
    if (!item.unknown)
        return cut + parts;
    return cut + parts + (item.unknown === 1 ? " One " + piece + " is"
        : " " + item.unknown + " " + piece + "s are") +
        " unknown to the model.";
}

/* -------------------------------------------------------------- attention */

/* Whether the weights are wanted, as a part of the request. */
function looking(b) {
    return b.look && !b.look.hidden && b.look.querySelector("input").checked
        ? {attention: true} : {};
}

/* weights of one row: of a head, or the mean over all heads of the layer. */
function attentionRow(layer, head, i) {
    if (head >= 0)
        return layer.heads[head][i];
    return layer.heads[0][i].map((_, j) =>
        layer.heads.reduce((sum, h) => sum + h[i][j], 0) / layer.heads.length);
}

function pick(label, n, all) {
    const select = el("select");
    select.setAttribute("aria-label", label);
    if (all)
        select.append(new Option("all " + n + " " + label + "s", -1));
    for (let i = 0; i < n; i++)
        select.append(new Option(label + " " + (i + 1), i));
    return select;
}

/* The tokens in a row; the chosen one is framed, the others are as dark as its
 * weight for them. */
function drawAttention(attention, start) {
    const layers = attention.layers, n = attention.tokens.length;
    const box = el("div", "attention"), strip = el("div", "tokens");
    const layer = pick("layer", layers.length, false);
    const head = pick("head", layers[0].heads.length, true);
    let chosen = start === undefined ? n - 1 : start;
    layer.value = layers.length - 1;
    const tokens = attention.tokens.map((text, i) => {
        const t = el("button", "", visible(text));
        t.type = "button";
        t.addEventListener("click", () => { chosen = i; paint(); });
        return t;
    });
    function paint() {
        const row = attentionRow(layers[layer.value], Number(head.value),
                                 chosen);
        const most = Math.max(...row, 1e-9);
        tokens.forEach((t, j) => {
            t.setAttribute("aria-pressed", String(j === chosen));
            t.style.setProperty("--w", (row[j] / most).toFixed(3));
            t.classList.toggle("chosen", j === chosen);
            t.title = percent(row[j]);
        });
    }
    layer.addEventListener("change", paint);
    head.addEventListener("change", paint);
    const choose = el("div", "row");
    choose.append(layer, head);
    strip.append(...tokens);
    box.append(el("p", "note", "What the framed token looks at (click another" +
        " one; point at a token for its weight):"), strip, choose);
    paint();
    return box;
}

function attentionOf(item, start) {
    return item.attention ? [drawAttention(item.attention, start)] : [];
}

/* ------------------------------------------------------------- next words */

/* White space: how it looks, and what it is called. */
const SPACES = new Map([[" ", ["\u2423", "space"]],
    ["\n", ["\u21b5", "line feed"]], ["\t", ["\u21e5", "tab"]]]);

function visible(text) {
    return SPACES.has(text) ? SPACES.get(text)[0] : text;
}

/* A piece of a model of characters goes on as it is; a word has white space
 * before it, a mark or a contraction's part needs none. */
function joined(before, word, plain) {
    const needs = before !== "" && !/\s/.test(before.slice(-1)) &&
        !/^(?:[^\p{L}\p{N}]|['\u2019]\p{L}+|n't)$/u.test(word);
    return before + (needs && !plain ? " " : "") + word;
}

function predictionRow(b, p, best, plain) {
    const row = el("button", "bar"), bar = el("i"), cell = el("div");
    row.type = "button";
    row.title = "continue with this";
    if (SPACES.has(p.text))
        row.setAttribute("aria-label",
                         SPACES.get(p.text)[1] + " " + percent(p.prob));
    bar.style.width = (100 * p.prob / best) + "%";
    cell.append(bar);
    row.append(el("b", "", visible(p.text)), cell,
               el("span", "", percent(p.prob)));
    row.addEventListener("click", () => {
        b.text.value = joined(b.text.value, p.text, plain);
        b.text.scrollTop = b.text.scrollHeight;
        b.form.requestSubmit();
    });
    return row;
}

async function predict(b, signal) {
    const item = (await answer("/predict", request(b,
        Object.assign({top_k: 10}, looking(b))), signal)).data[0];
    const best = item.predictions.length && item.predictions[0].prob || 1;
    const plain = isPlain(b);
    const rows = item.predictions.map(p => predictionRow(b, p, best, plain));
    const within = b.out.contains(document.activeElement);
    const say = !rows.length ? "The model offers nothing here."
        : plain ? "Click a character to go on with it."
            : "Click a word to go on with it.";
    b.out.classList.toggle("plain", plain);
    b.out.replaceChildren(...rows,
        el("p", "note", say + readNote(b, item, "end")), ...attentionOf(item));
    if (within && rows.length) /* whoever goes on by keyboard stays there */
        rows[0].focus();
}

/* -------------------------------------------------------------- sentiment */

function gauge(item) {
    const by = {};
    item.scores.forEach(s => { by[s.label] = s.score; });
    const track = el("div", "gauge"), needle = el("i");
    needle.style.left = (100 * by.positive) + "%";
    track.append(needle);
    track.setAttribute("role", "img");
    track.setAttribute("aria-label", percent(by.positive) + " positive");
    const ends = el("div", "ends");
    ends.append(el("span", "", "negative " + percent(by.negative)),
                el("span", "", "positive " + percent(by.positive)));
    return [track, ends];
}

/* Raw scores are numbers of any size, not parts of a whole. */
function scoreText(score, raw) {
    return raw ? String(Number(score.toPrecision(4))) : percent(score);
}

function labelBars(item, raw) {
    return item.scores.map(s => {
        const row = el("div", "bar"), cell = el("div"), bar = el("i");
        bar.style.width = (100 * s.score) + "%";
        if (!raw)
            cell.append(bar);
        row.append(el("b", "", s.label), cell,
                   el("span", "", scoreText(s.score, raw)));
        return row;
    });
}

async function sentiment(b, signal) {
    const raw = chosen(b).scores === "raw";
    const path = chosen(b).tasks.includes("sentiment") ? "/sentiment"
        : "/classify";
    const item = (await answer(path, request(b, looking(b)), signal)).data[0];
    const labels = item.scores.map(s => s.label).sort().join();
    b.out.replaceChildren(
        el("div", "verdict", item.label + ", " + scoreText(item.score, raw)),
        ...(labels === "negative,positive" && !raw ? gauge(item)
            : labelBars(item, raw)),
        el("p", "note", readNote(b, item, "beginning").trim()),
        ...attentionOf(item, 0));
}

/* ----------------------------------------------------------- continuation */

const BROKEN = "the connection ended before the text did";

/* Server-sent events of a body, one at a time, up to [DONE]: a stream without
 * it is broken. */
async function* events(response) {
    const reader = response.body.getReader(), decoder = new TextDecoder();
    let rest = "";
    for (;;) {
        let part, end;
        try {
            part = await reader.read();
        } catch (e) {
            throw e.name === "AbortError" ? e : new Error(BROKEN);
        }
        if (part.done)
            throw new Error(BROKEN);
        rest += decoder.decode(part.value, {stream: true});
        while ((end = rest.indexOf("\n\n")) >= 0) {
            const line = rest.slice(0, end);
            rest = rest.slice(end + 2);
            if (line === "data: [DONE]")
                return;
            if (line.startsWith("data: "))
                yield JSON.parse(line.slice(6));
        }
    }
}

/* The text given and what is made of it, in a box of its own to scroll. */
function drawStory(b) {
    const story = el("p", isPlain(b) ? "story plain" : "story");
    const made = document.createTextNode(""), note = el("p", "note");
    story.tabIndex = 0;
    story.setAttribute("role", "region");
    story.setAttribute("aria-label", "the text");
    story.append(el("span", "given", b.text.value), made);
    b.out.replaceChildren(story, note);
    return {story: story, made: made, note: note};
}

function addText(s, text) {
    const down = s.story.scrollHeight - s.story.scrollTop -
        s.story.clientHeight < 40;
    s.made.appendData(text);
    if (down)
        s.story.scrollTop = s.story.scrollHeight;
}

/* Under a text that was written to its end. */
function tell(b, s, event, start) {
    const item = event.data[0], keep = el("button", "small", "keep this seed");
    const seconds = ((performance.now() - start) / 1000).toFixed(2);
    keep.type = "button";
    keep.addEventListener("click", () => {
        b.form.elements.seed.value = item.seed;
    });
    s.note.textContent = (s.made.data ? "" : "The model ended at once: there" +
        " is no text. ") + event.usage.completion_tokens + " tokens in " +
        seconds + " s, seed " + item.seed + "." + readNote(b, item, "end") +
        " ";
    s.note.append(keep);
    if (item.hint)
        b.out.append(el("p", "hint", "Hint: " + item.hint + "."));
}

async function follow(b, s, response, start) {
    for await (const event of events(response)) {
        if (event.error)
            throw new Error(event.error.message);
        addText(s, event.data[0].text);
        if (event.usage)
            tell(b, s, event, start);
    }
}

/* A text that ends too early stays, and looks like that. */
function breakOff(b, s, e) {
    const stopped = e.name === "AbortError";
    const say = el("p", stopped ? "note" : "error",
                   stopped ? "Stopped."
                       : "Broken off: " + e.message.replace(/\.$/, "") +
                       ".");
    say.setAttribute("role", stopped ? "status" : "alert");
    s.story.classList.toggle("broken", !stopped);
    s.note.remove();
    b.out.append(say);
}

async function generate(b, signal) {
    const body = request(b, {stream: true}), start = performance.now();
    b.form.querySelectorAll("input").forEach(i => {
        if (i.value !== "")
            body[i.name] = Number(i.value);
    });
    const s = drawStory(b);
    s.note.textContent = "Writing \u2026";
    try {
        await follow(b, s, await post("/generate", body, signal), start);
    } catch (e) {
        if (b.run.signal !== signal)
            return; /* another one is being written */
        if (e.status)
            throw e; /* refused: nothing was written */
        b.run.abort(); /* what may still come is not read */
        breakOff(b, s, e);
    }
}

/* ------------------------------------------------------------------ start */

/* A model's own temperature and length, where its files say them. */
function suitSliders(b) {
    const own = chosen(b).defaults || {};
    b.form.querySelectorAll("input[type=range]").forEach(i => {
        i.value = i.name in own ? own[i.name] : i.defaultValue;
        i.dispatchEvent(new Event("input"));
    });
}

/* What depends on the model that is chosen. */
function suit(b) {
    suitSliders(b);
    if (b.look)
        b.look.hidden = !chosen(b).attention;
    if (b.languages)
        suitLanguages(b);
    b.text.classList.toggle("plain", isPlain(b));
    b.text.wrap = isPlain(b) ? "off" : "soft";
}

/* Models that make a text from another one go on with none. */
function fillBox(task, b, list) {
    b.models = list.filter(m => (m.tasks.includes(task) ||
        (task === "sentiment" && m.tasks.includes("classify"))) &&
        (task !== "generate" || !m.tasks.includes("translate")));
    b.model.replaceChildren(...b.models.map(m => new Option(m.id, m.id)));
    b.button.disabled = b.models.length === 0;
    b.out.replaceChildren(...(b.models.length ? []
        : [el("p", "note", "No model here does this.")]));
    suit(b);
}

function about(text, error) {
    const p = document.getElementById("about");
    p.textContent = text;
    p.classList.toggle("error", Boolean(error));
}

const sleep = ms => new Promise(done => setTimeout(done, ms));

/* Until the models are there. A proxy may keep the probe to itself. */
async function ready() {
    for (;;) {
        try {
            await call("/readyz");
            return "";
        } catch (e) {
            if (e.status === 500)
                return "A model's file was changed on the server.";
            if (e.status && e.status !== 503)
                return "";
            about(e.message, true);
        }
        await sleep(1000);
    }
}

/* The line at the top; a proxy may keep /info to itself, too. */
async function fillAbout(n) {
    try {
        const info = await (await call("/info")).json();
        const slider = document.querySelector("input[name=max_tokens]");
        const most = info.options.max_output_tokens;
        if (most < slider.max) {
            slider.min = Math.min(slider.min, most);
            slider.max = most;
            slider.dispatchEvent(new Event("input"));
        }
        about(n + (n === 1 ? " model, " : " models, ") + info.threads +
              (info.threads === 1 ? " thread, " : " threads, ") +
              info.kernels + " kernels, version " + info.version);
    } catch (e) {
        about(n + (n === 1 ? " model" : " models"));
    }
}

async function fill(boxes) {
    const damaged = await ready();
    const list = (await (await call("/v1/models")).json()).data;
    const field = document.getElementById("key");
    if (field.contains(document.activeElement))
        boxes.predict.text.focus();
    field.hidden = true;
    document.getElementById("forget").hidden = !key;
    for (const [task, b] of Object.entries(boxes))
        fillBox(task, b, list);
    await fillAbout(list.length);
    if (damaged)
        about(damaged, true);
}

const boxes = {
    predict: box("predict"),
    sentiment: box("sentiment"),
    generate: box("generate"),
    translate: box("translate")
};

function start() {
    return fill(boxes).catch(e => {
        if (e.status !== 401) /* the field for the key says that */
            about(e.message, true);
    });
}

wire(boxes.predict, predict);
wire(boxes.sentiment, sentiment);
wire(boxes.generate, generate);
wire(boxes.translate, translate);
for (const b of Object.values(boxes)) {
    b.button.disabled = true; /* until the models are known */
    b.model.addEventListener("change", () => suit(b));
}
document.querySelectorAll("input[type=range]").forEach(i => {
    const show = () => { i.nextElementSibling.textContent = i.value; };
    i.addEventListener("input", show);
    show();
});
document.querySelector("#key form").addEventListener("submit", event => {
    event.preventDefault();
    keepKey(document.getElementById("key-text").value.trim());
    start();
});
document.getElementById("forget").addEventListener("click", () => {
    keepKey("");
    start();
});
/* A link sends no key: what it leads to is shown here instead, but for the page
 * that needs none. */
document.querySelectorAll("footer a:not([href='/docs'])").forEach(a => {
    a.addEventListener("click", async event => {
        const shown = document.getElementById("shown");
        if (!key)
            return;
        event.preventDefault();
        try {
            shown.textContent =
                await (await call(a.getAttribute("href"))).text();
        } catch (e) {
            shown.textContent = e.message;
        }
        shown.hidden = false;
        shown.focus();
    });
});
start().then(() => {
    for (const b of Object.values(boxes))
        if (!b.button.disabled && location.hash === "#demo")
            b.form.requestSubmit();
});
