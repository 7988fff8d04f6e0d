/* The box of translations: the text as it comes, other texts with their
 * scores, and the picture of who looks at whom. What all boxes share is in
 * app.js, which comes after this. SPDX-License-Identifier: MIT */
"use strict";

const MOST_TEXTS = 5; /* of the beams, shown with their scores */
const CELL = 22; /* px of a weight */
const LETTER = 8, LABEL = 12; /* px of a letter of a label, letters at most */

/* "French (fr)"; the code alone where it is none that the browser knows. */
function languageName(code) {
    try {
        const name = new Intl.DisplayNames(["en"], {type: "language",
            fallback: "none"}).of(code.replaceAll("_", "-"));
        return name ? name + " (" + code + ")" : code;
    } catch (e) {
        return code;
    }
}

/* What depends on the model: the box itself, and its languages. */
function suitLanguages(b) {
    const list = chosen(b).languages || [];
    b.section.hidden = b.models.length === 0;
    b.languages.replaceChildren(...list.map(l =>
        new Option(languageName(l), l)));
    b.languages.hidden = list.length === 0;
}

/* ------------------------------------------------------------- alignment */

/* The name space of SVG, without an address in the page. */
function nameSpace() {
    const part = document.createElement("template");
    part.innerHTML = "<svg></svg>";
    return part.content.firstChild.namespaceURI;
}

const SVG = nameSpace();

function svg(name, attributes, text) {
    const e = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes))
        e.setAttribute(key, value);
    if (text !== undefined)
        e.textContent = text;
    return e;
}

function label(token) {
    const text = visible(token).trim() || "\u2423";
    const letters = [...text];
    return letters.length > LABEL
        ? letters.slice(0, LABEL - 1).join("") + "\u2026" : text;
}

/* In words, for those who do not see the picture. */
function alignmentWords(a) {
    return "Where each token looks most: " + a.target.map((t, i) => {
        const row = a.weights[i], j = row.indexOf(Math.max(...row));
        return label(t) + " at " + label(a.source[j]) + " (" +
            percent(row[j]) + ")";
    }).join(", ") + ".";
}

/* Target tokens down the side, those of the source above; as dark as the
 * weight. */
function alignmentPicture(a) {
    const side = LETTER *
        Math.max(...a.target.map(t => [...label(t)].length)) + 10;
    const top = LETTER *
        Math.max(...a.source.map(t => [...label(t)].length)) + 10;
    const wide = side + CELL * a.source.length + 2;
    const high = top + CELL * a.target.length + 2;
    const picture = svg("svg", {class: "weights", width: wide, height: high,
        viewBox: "0 0 " + wide + " " + high, role: "img",
        "aria-label": alignmentWords(a)});
    a.source.forEach((t, j) => {
        const x = side + CELL * j + CELL / 2 + 4, y = top - 6;
        picture.append(svg("text", {x: x, y: y,
            transform: "rotate(-90 " + x + " " + y + ")"}, label(t)));
    });
    a.target.forEach((t, i) => {
        const y = top + CELL * i;
        picture.append(svg("text", {x: side - 6, y: y + CELL / 2 + 4,
            "text-anchor": "end"}, label(t)));
        a.weights[i].forEach((w, j) => {
            const cell = svg("rect", {x: side + CELL * j, y: y,
                width: CELL - 1, height: CELL - 1,
                "fill-opacity": w.toFixed(3)});
            cell.append(svg("title", {}, label(t) + " looks at " +
                label(a.source[j]) + ": " + percent(w)));
            picture.append(cell);
        });
    });
    return picture;
}

function drawAlignment(a) {
    const box = el("div", "alignment"), frame = el("div", "scroll");
    if (!a.target.length)
        return box;
    frame.tabIndex = 0;
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", "the alignment");
    frame.append(alignmentPicture(a));
    box.append(el("p", "note", "Where each token of the translation (at the" +
        " side) looks in the text (above): the stronger the colour, the" +
        " more. Point at a field for its weight."), frame);
    return box;
}

/* ----------------------------------------------------------- translations */

function otherTexts(item) {
    const list = el("ol", "texts");
    list.setAttribute("aria-label", "all texts, best first");
    for (const t of [item, ...item.alternatives]) {
        const row = el("li");
        row.append(el("span", "", t.text || "(no text)"),
                   el("span", "note", t.score.toFixed(3)));
        list.append(row);
    }
    return list;
}

function drawTranslation(b) {
    const story = el("p", isPlain(b) ? "story plain" : "story");
    const made = document.createTextNode(""), note = el("p", "note");
    story.tabIndex = 0;
    story.setAttribute("role", "region");
    story.setAttribute("aria-label", "the translation");
    story.append(made);
    b.out.replaceChildren(story, note);
    note.textContent = "Translating \u2026";
    return {story: story, made: made, note: note};
}

function endTranslation(b, s, event, say, start) {
    const text = s.made.data;
    const item = Object.assign({}, event.data[0], {text: text});
    const seconds = ((performance.now() - start) / 1000).toFixed(2);
    const texts = item.alternatives ? item.alternatives.length + 1 : 1;
    s.note.textContent = (text ? "" : "The model ended at once: there is no" +
        " text. ") + event.usage.completion_tokens + " tokens " +
        (texts > 1 ? "of " + texts + " texts " : "") + "in " + seconds +
        " s, score " + item.score.toFixed(3) + "." +
        readNote(b, item, "beginning") + say;
    if (item.alternatives)
        b.out.append(otherTexts(item));
    if (item.attention)
        b.out.append(drawAlignment(item.attention));
}

async function followTranslation(b, s, response, say, start) {
    for await (const event of events(response)) {
        if (event.error)
            throw Object.assign(new Error(event.error.message),
                                {param: event.error.param});
        addText(s, event.data[0].text);
        if (event.usage)
            endTranslation(b, s, event, say, start);
    }
}

/* Where the picture is what is refused (of a long text), a translation is
 * made without it. */
async function showTranslation(b, body, signal, say) {
    const start = performance.now(), s = drawTranslation(b);
    try {
        await followTranslation(b, s, await post("/translate", body, signal),
                                say, start);
    } catch (e) {
        if (b.run.signal !== signal)
            return; /* another one is being made */
        if (body.attention && e.param === "attention") {
            delete body.attention;
            await showTranslation(b, body, signal,
                                  " No picture: " + e.message + ".");
            return;
        }
        if (e.status)
            throw e; /* refused: nothing was written */
        b.run.abort(); /* what may still come is not read */
        breakOff(b, s, e);
    }
}

async function translate(b, signal) {
    const beams = Number(b.form.elements.beams.value);
    const body = request(b, Object.assign({stream: true, beams: beams,
        n_best: Math.min(beams, MOST_TEXTS)}, looking(b)));
    if (!b.languages.hidden)
        body.target = b.languages.value;
    await showTranslation(b, body, signal, "");
}
