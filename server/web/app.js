/* The first page of seqd: three boxes that ask the server they came from. No
 * library, no outside resource. SPDX-License-Identifier: MIT */
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
        form: section.querySelector("form"),
        text: section.querySelector("textarea"),
        model: section.querySelector("select"),
        look: section.querySelector(".look"),
        button: section.querySelector("button"),
        out: section.querySelector("output")
    };
}

function ask(path, body, signal) {
    return fetch(path, {
        method: "POST",
        headers: {"Content-Type": "application/json"},
        body: JSON.stringify(body),
        signal: signal
    });
}

async function failure(response) {
    try {
        return (await response.json()).error.message;
    } catch (e) {
        return "status " + response.status;
    }
}

function showError(b, message) {
    b.out.replaceChildren(el("p", "error", message));
}

/* Wire a box: fn draws into b.out; errors and the button are handled here. */
function wire(b, fn) {
    b.form.addEventListener("submit", async event => {
        event.preventDefault();
        b.button.disabled = true;
        try {
            await fn(b);
        } catch (e) {
            showError(b, e.message);
        }
        b.button.disabled = false;
    });
    b.text.addEventListener("keydown", event => {
        if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            b.form.requestSubmit();
        }
    });
}

function request(b, more) {
    const body = Object.assign({input: b.text.value}, more);
    if (b.model.value)
        body.model = b.model.value;
    return body;
}

async function answer(path, body) {
    const response = await ask(path, body);
    if (!response.ok)
        throw new Error(await failure(response));
    return response.json();
}

function unknownNote(item) {
    if (!item.unknown)
        return "";
    return item.unknown === 1 ? " One word is unknown to the model."
        : " " + item.unknown + " words are unknown to the model.";
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

function visible(text) {
    return text === " " ? "\u2423" : text === "\n" ? "\u21b5" : text;
}

function joined(before, word) {
    if (word.length === 1 && /[^A-Za-z0-9]/.test(word))
        return before + word;
    return before.replace(/\s*$/, "") + " " + word;
}

async function predict(b) {
    const item = (await answer("/predict", request(b,
        Object.assign({top_k: 10}, looking(b))))).data[0];
    const best = item.predictions.length ? item.predictions[0].prob : 1;
    const rows = item.predictions.map(p => {
        const row = el("button", "bar");
        row.type = "button";
        row.title = "continue with this";
        const bar = el("i");
        bar.style.width = (100 * p.prob / best) + "%";
        const cell = el("div");
        cell.append(bar);
        row.append(el("b", "", visible(p.text)), cell,
                   el("span", "", percent(p.prob)));
        row.addEventListener("click", () => {
            b.text.value = joined(b.text.value, p.text);
            b.form.requestSubmit();
        });
        return row;
    });
    b.out.replaceChildren(...rows, el("p", "note",
        "Click a word to go on with it." + unknownNote(item)),
        ...attentionOf(item));
}

/* -------------------------------------------------------------- sentiment */

function gauge(item) {
    const by = {};
    item.scores.forEach(s => { by[s.label] = s.score; });
    const track = el("div", "gauge"), needle = el("i");
    needle.style.left = (100 * by.positive) + "%";
    track.append(needle);
    const ends = el("div", "ends");
    ends.append(el("span", "", "negative " + percent(by.negative)),
                el("span", "", "positive " + percent(by.positive)));
    return [track, ends];
}

function labelBars(item) {
    return item.scores.map(s => {
        const row = el("div", "bar"), cell = el("div"), bar = el("i");
        bar.style.width = (100 * s.score) + "%";
        cell.append(bar);
        row.append(el("b", "", s.label), cell, el("span", "", percent(s.score)));
        return row;
    });
}

async function sentiment(b) {
    const item = (await answer("/sentiment", request(b,
        looking(b)))).data[0];
    const labels = item.scores.map(s => s.label).sort().join();
    b.out.replaceChildren(
        el("div", "verdict", item.label + ", " + percent(item.score)),
        ...(labels === "negative,positive" ? gauge(item) : labelBars(item)),
        el("p", "note", unknownNote(item).trim()), ...attentionOf(item, 0));
}

/* ----------------------------------------------------------- continuation */

/* Server-sent events of a body, one at a time. */
async function* events(response) {
    const reader = response.body.getReader(), decoder = new TextDecoder();
    let rest = "";
    for (;;) {
        const part = await reader.read();
        if (part.done)
            return;
        rest += decoder.decode(part.value, {stream: true});
        let end;
        while ((end = rest.indexOf("\n\n")) >= 0) {
            const line = rest.slice(0, end);
            rest = rest.slice(end + 2);
            if (line.startsWith("data: ") && line !== "data: [DONE]")
                yield JSON.parse(line.slice(6));
        }
    }
}

let writing = null;

async function follow(b, response, start) {
    const story = el("p", "story"), note = el("p", "note");
    const made = document.createTextNode("");
    story.append(el("span", "given", b.text.value), made);
    b.out.replaceChildren(story, note);
    for await (const event of events(response)) {
        if (event.error)
            throw new Error(event.error.message);
        made.data += event.data[0].text;
        if (event.usage) {
            const n = event.usage.completion_tokens;
            const s = (performance.now() - start) / 1000;
            note.textContent = n + " tokens in " + s.toFixed(2) + " s, seed " +
                event.data[0].seed + "." + unknownNote(event.data[0]);
        }
    }
}

async function generate(b) {
    const body = request(b, {stream: true});
    b.form.querySelectorAll("input").forEach(i => {
        body[i.name] = Number(i.value);
    });
    if (writing)
        writing.abort();
    writing = new AbortController();
    const start = performance.now();
    const response = await ask("/generate", body, writing.signal);
    if (!response.ok)
        throw new Error(await failure(response));
    await follow(b, response, start);
}

/* ----------------------------------------------------------------- models */

async function fillModels(boxes) {
    const list = (await (await fetch("/v1/models")).json()).data;
    for (const [task, b] of Object.entries(boxes)) {
        const names = list.filter(m => m.tasks.includes(task)).map(m => m.id);
        b.model.replaceChildren(...names.map(n => new Option(n, n)));
        b.button.disabled = names.length === 0;
        if (names.length === 0)
            b.out.replaceChildren(el("p", "note", "No model here does this."));
        const show = () => {
            const m = list.find(m => m.id === b.model.value);
            if (b.look)
                b.look.hidden = !(m && m.attention);
        };
        b.model.addEventListener("change", show);
        show();
    }
    const info = await (await fetch("/info")).json();
    document.getElementById("about").textContent =
        list.length + " models, " + info.threads + " threads, " +
        info.kernels + " kernels, version " + info.version;
}

const boxes = {
    predict: box("predict"),
    sentiment: box("sentiment"),
    generate: box("generate")
};
wire(boxes.predict, predict);
wire(boxes.sentiment, sentiment);
wire(boxes.generate, generate);
boxes.generate.form.querySelectorAll("input").forEach(i => {
    const show = () => { i.nextElementSibling.textContent = i.value; };
    i.addEventListener("input", show);
    show();
});
fillModels(boxes).then(() => {
    for (const b of Object.values(boxes))
        if (!b.button.disabled && location.hash === "#demo")
            b.form.requestSubmit();
}, e => showError(boxes.predict, e.message));
