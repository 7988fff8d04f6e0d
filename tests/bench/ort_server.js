// The peer of the HTTP comparison: ONNX Runtime behind Node's http server.
// POST {"ids":[...]} answers {"label","scores"}: the ids come ready-made, so
// this side does no tokenizing. One request is one run of batch 1, as such
// servers are usually written. `node ort_server.js MODEL THREADS`; the port it
// got is printed.
// SPDX-License-Identifier: MIT
'use strict';
const http = require('http');
const ort = require('onnxruntime-node');

const [, , file, threads] = process.argv;

async function answer(session, request, response) {
    const parts = [];
    for await (const part of request) parts.push(part);
    const { ids } = JSON.parse(Buffer.concat(parts));
    const data = BigInt64Array.from(ids, BigInt);
    const input = new ort.Tensor('int64', data, [1, data.length]);
    const { logits } = await session.run({ ids: input });
    const e = Array.from(logits.data, Math.exp);
    const sum = e[0] + e[1];
    const body = JSON.stringify({
        label: e[1] > e[0] ? 'positive' : 'negative',
        scores: e.map((x) => x / sum),
    });
    response.writeHead(200, {
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(body),
    });
    response.end(body);
}

async function main() {
    const session = await ort.InferenceSession.create(file, {
        intraOpNumThreads: Number(threads),
        interOpNumThreads: 1,
        graphOptimizationLevel: 'all',
    });
    const server = http.createServer((request, response) => {
        answer(session, request, response).catch((e) => {
            response.writeHead(500);
            response.end(String(e));
        });
    });
    server.listen(0, '127.0.0.1', () => console.log(server.address().port));
}

main();
