#!/usr/bin/env python3
"""Write made-up sequences of which something has to be remembered for long.

    models/recipes/memory_tasks.py adding --length 100 --count 20000 --seed 1 adding.safetensors
    models/recipes/memory_tasks.py copying --length 100 --count 20000 --seed 1 copying.txt

adding (Hochreiter and Schmidhuber 1997; Le, Jaitly and Hinton 2015): a vector
at each time is a number from [0, 1) and a mark, which is 1 at one time of the
first half and at one of the second, else 0. The value is the sum of the two
marked numbers. Who always says 1 has a mean squared error of 1/6. Tensors x
[count, length, 2] and y [count, 1] for `seqd-train train --task regression`.

copying (Hochreiter and Schmidhuber 1997; Arjovsky, Shah and Bengio 2016): ten
of eight symbols, `length` blanks, a colon, the ten symbols once more; a line
each, for `seqd-train train --tokenizer whitespace --predict-last 10`. Who has
forgotten them pays ln 8 = 2.079 nats a symbol.

One seed gives one file, byte for byte. Standard library only.

SPDX-License-Identifier: MIT"""
import argparse
import array
import json
import random
import struct
import sys

SYMBOLS = 10


def floats(values):
    a = array.array("f", values)
    if sys.byteorder == "big":
        a.byteswap()
    return a.tobytes()


def write_adding(f, r, count, length):
    sizes = {"x": [count, length, 2], "y": [count, 1]}
    header, at = {}, 0
    for name, shape in sizes.items():
        n = 4
        for d in shape:
            n *= d
        header[name] = {"dtype": "F32", "shape": shape,
                        "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    f.write(struct.pack("<Q", len(text)) + text)
    sums = []
    for _ in range(count):
        x = [0.0] * (2 * length)
        x[::2] = [r.random() for _ in range(length)]
        first = r.randrange(length // 2)
        second = length // 2 + r.randrange(length - length // 2)
        x[2 * first + 1] = x[2 * second + 1] = 1.0
        sums.append(x[2 * first] + x[2 * second])
        f.write(floats(x))
    f.write(floats(sums))


def write_copying(f, r, count, length):
    blanks = " _" * length
    for _ in range(count):
        s = " ".join(r.choice("abcdefgh") for _ in range(SYMBOLS))
        f.write(f"{s}{blanks} : {s}\n".encode())


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("task", choices=("adding", "copying"))
    p.add_argument("--length", type=int, required=True)
    p.add_argument("--count", type=int, required=True)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("out")
    a = p.parse_args()
    if a.length < 2 or a.count < 1:
        p.error("--length is at least 2, --count 1")
    write = write_adding if a.task == "adding" else write_copying
    with open(a.out, "wb") as f:
        write(f, random.Random(a.seed), a.count, a.length)


if __name__ == "__main__":
    main()
