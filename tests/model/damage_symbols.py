"""Damages symbol files, at random and one thing after another, and uses what still loads, in watched processes.

``python tests/model/damage_symbols.py [COUNT [SEED]]`` tries COUNT files and prints what ended a process.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
SHAPE = (3, 32, 32)
MEMORY = 6 << 30
SECONDS_PER_FILE = 60

NUMBERS = ["-1", "0", "1", "2", "3", "7", "31", "33", "255", "1000", "4096", "65536", "2147483647", "-2147483648"]
ODD = [
    *("+2000000000", " 2000000000", "2000000000 ", "1e9", "0x10", "1_000", "٣", "３", "", "None", "nan", "inf", "-inf"),
    *("True", "False", "true", "max", "4294967296", "18446744073709551615", "1" * 400, "0.5", "-0.5", "1e-45", "1e38"),
    *("()", "(,)", "(1,", "(None,)", "(None, None)", "(1, 1, 1, 1)", "[0, 0]", "(0, -1)", "(-1, -1)", "(-2, -3, -4)"),
    *("(2147483647, 2147483647)", "(4096, 4096)", "(" + "1, " * 40 + ")", "(-4, -1, -1)", "(0, 0, -4, -1, 2, -2)"),
    *("float16", "int8", "bool", "uint8", "reflect", "edge", "row_sparse", "csr", "NHWC", "NCDHW", "same", "full"),
]


def values(rng: random.Random) -> str:
    """Return one attribute's text, often a hostile one."""
    draw = rng.random()
    if draw < 0.35:
        return rng.choice(NUMBERS)
    if draw < 0.6:
        return "(" + ", ".join(rng.choice(NUMBERS) for _ in range(rng.randint(1, 6))) + ")"
    return rng.choice(ODD)


def within(kind, rng: random.Random) -> str:
    """Return a text that the table lets through, at the edge of its bounds or in them."""
    from mxml.model import attributes

    if isinstance(kind, attributes.Choice):
        return rng.choice(kind.words)
    if isinstance(kind, attributes.Bool):
        return rng.choice(["True", "False"])
    if isinstance(kind, attributes.Int):
        edges = [kind.low, kind.high, *(number for number in range(-3, 9) if kind.low <= number <= kind.high)]
        return str(rng.choice(edges))
    if isinstance(kind, attributes.Float):
        return str(rng.choice([kind.low, kind.high, 0.5 if kind.low <= 0.5 <= kind.high else kind.low]))
    if isinstance(kind, attributes.Permutation):
        axes = rng.sample(range(4), 4)
        return str(tuple(axes if rng.random() < 0.8 else [*axes, axes[0]]))
    if isinstance(kind, attributes.Tuple):
        small = [number for number in range(-4, 6) if kind.low <= number <= kind.high]
        edges = [kind.low, kind.high, *small, *small]
        return str(tuple(rng.choice(edges) for _ in range(rng.randint(*kind.lengths)))).replace("'", "")
    return "x"


def damaged(document: dict, rng: random.Random) -> dict:
    """Return a symbol's document with one to three things changed."""
    from mxml.model.operators import OPERATORS

    document = copy.deepcopy(document)
    nodes = document["nodes"]
    for _ in range(rng.choice([1, 1, 2, 3])):
        position = rng.randrange(len(nodes))
        while nodes[position]["op"] == "null" and rng.random() < 0.8:
            position = rng.randrange(len(nodes))
        node = nodes[position]
        attrs = node.setdefault("attrs", {})
        inputs = node["inputs"]
        change = rng.randrange(8)
        if change == 0 and inputs:
            inputs.pop(rng.randrange(len(inputs)))
        elif change == 1:
            inputs.insert(rng.randint(0, len(inputs)), [rng.randrange(position + 1), 0, 0])
        elif change == 2 and inputs:
            rng.shuffle(inputs)
        elif change == 3 and inputs:
            rng.choice(inputs)[rng.randrange(3)] = rng.choice(
                [-1, 0, 1, 2, 5, position, 2**31, 2**64, rng.randrange(position + 1)]
            )
        elif change == 4 and attrs:
            attrs[rng.choice(sorted(attrs))] = values(rng)
        elif change == 5:
            attrs[rng.choice(["__shape__", "__dtype__", "__storage_type__", "num_args", "axis", "dtype"])] = values(rng)
        else:
            # Another operator, with as many inputs as it asks for and attributes that the table lets through.
            op = rng.choice(sorted(OPERATORS))
            operator = OPERATORS[op]
            chosen = [name for name in operator.attributes if name in operator.required or rng.random() < 0.5]
            node["op"] = op
            node["attrs"] = {name: within(operator.attributes[name], rng) for name in chosen}
            for name in ("num_args", "num_outputs"):
                if name in node["attrs"] and rng.random() < 0.9:
                    node["attrs"][name] = str(rng.randint(1, 3))
            from_here = inputs or [[0, 0, 0]]
            try:
                wanted = min(operator.inputs(node["attrs"]), 8)
            except (KeyError, ValueError):
                wanted = len(from_here)
            node["inputs"] = (
                [
                    from_here[number] if number < len(from_here) else [rng.randrange(position), 0, 0]
                    for number in range(wanted)
                ]
                if position
                else []
            )
    return document


def each_damage(document: dict) -> Iterator[dict]:
    """Yield documents with one thing changed, for everything that there is in one node of each operator of a symbol."""
    nodes = one_of_each_operator(document["nodes"])
    for position, node in enumerate(nodes):
        if node["op"] == "null":
            continue
        for changed in each_damaged_node(node, position):
            kept = [*nodes[:position], changed]
            variables = [number for number, kept_node in enumerate(kept) if kept_node["op"] == "null"]
            yield {**document, "nodes": kept, "arg_nodes": variables, "heads": [[position, 0, 0]]}


def one_of_each_operator(nodes: list[dict]) -> list[dict]:
    """Return the first node of each operator, one after the other, with its variables; the rest only takes time."""
    short: list[dict] = []
    for node in nodes:
        if node["op"] == "null" or node["op"] in {kept["op"] for kept in short}:
            continue
        previous = len(short) - 1
        inputs = []
        for number, output, version in node["inputs"]:
            if nodes[number]["op"] == "null":
                short.append(nodes[number])
                inputs.append([len(short) - 1, output, version])
            else:
                inputs.append([previous, 0, 0])
        short.append({**node, "inputs": inputs})
    return short


def each_damaged_node(node: dict, position: int) -> Iterator[dict]:
    """Yield a node as it is, and with one input or one attribute changed."""
    from mxml.model import attributes
    from mxml.model.operators import OPERATORS

    inputs = node["inputs"]
    chains = [inputs[:at] + inputs[at + 1 :] for at in range(len(inputs))]
    chains += [[*inputs[:at], extra, *inputs[at:]] for at in range(len(inputs) + 1) for extra in ([0, 0, 0], [1, 0, 0])]
    for first, second in itertools.combinations(range(len(inputs)), 2):
        swapped = [*inputs]
        swapped[first], swapped[second] = inputs[second], inputs[first]
        chains.append(swapped)
    for at, part in itertools.product(range(len(inputs)), range(3)):
        for number in (-1, 1, position - 1, position, position + 1, 2**31, 2**32, 2**64, None, "0", 0.5):
            changed = [*inputs[at]]
            changed[part] = number
            chains.append([*inputs[:at], changed, *inputs[at + 1 :]])
    for chain in [inputs, [], *chains]:
        yield {**node, "inputs": chain}
    attrs = node.get("attrs", {})
    for name in attrs:
        yield {**node, "attrs": {other: text for other, text in attrs.items() if other != name}}
    for name, kind in OPERATORS[node["op"]].attributes.items():
        pairs = [f"({number}, {number})" for number in NUMBERS] if isinstance(kind, attributes.Tuple) else []
        for text in [*NUMBERS, *pairs, *ODD]:
            yield {**node, "attrs": {**attrs, name: text}}


def use(path: Path) -> str:
    """Load a symbol file and run what it describes: its shapes, a forward pass, a backward pass."""
    import numpy as np

    from mxml.errors import MxmlError
    from mxml.model.layers import Network
    from mxml.model.symbol_file import load_symbol
    from mxml.model.training_graph import training_graph
    from mxml.runtime.imports import load_mxnet

    mx = load_mxnet()
    try:
        symbol = load_symbol(path)
        network = Network(symbol, SHAPE)
        network.likely_layers()
        network.check_memory(2, training=True)
    except MxmlError as error:
        assert "\n" not in str(error)
        return "refused"
    try:
        for whole in (symbol, training_graph(network)):
            executor = whole.simple_bind(mx.cpu(), data=(2, *SHAPE), grad_req="write")
            generator = np.random.default_rng(0)
            for array in executor.arg_arrays:
                array[:] = mx.nd.array(generator.normal(size=array.shape), dtype="float32").astype(array.dtype)
            for output in executor.forward(is_train=True):
                output.asnumpy()
            executor.backward(executor.outputs)
            mx.nd.waitall()
            for output in executor.forward(is_train=False):
                output.asnumpy()
    except (mx.base.MXNetError, RuntimeError, ValueError, TypeError) as error:
        return f"fails: {type(error).__name__}"
    return "runs"


def watch(folder: Path) -> None:
    """Use the files of a folder one by one, saying on stdout which; the process may end at any of them."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for path in sorted(folder.glob("*-symbol.json")):
        print(path.name, flush=True)
        print(use(path), flush=True)


def at_random(count: int, seed: int, sources: list[Path]) -> Iterator[dict]:
    """Yield ``count`` documents, damaged at random."""
    rng = random.Random(seed)
    documents = [small_network(), *(json.loads(path.read_text()) for path in sources)]
    for number in range(count):
        yield damaged(documents[number % len(documents) if number % 3 == 0 else 0], rng)


def try_files(documents: Iterable[dict]) -> tuple[Counter[str], list[tuple[Path, str]]]:
    """Use symbols; return how often what came of it, and which of them ended a process."""
    folder = Path(tempfile.mkdtemp(prefix="damaged-"))
    for number, document in enumerate(documents):
        (folder / f"{number:05d}-symbol.json").write_text(json.dumps(document))
    outcomes: Counter[str] = Counter()
    fatal = []
    while any(folder.glob("*-symbol.json")):
        with open(folder / "stdout", "wb") as stdout, open(folder / "stderr", "wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, __file__, "--watch", folder],
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT), "PYTHONFAULTHANDLER": "1"},
            )
            ended = _wait(process, folder / "stdout")
        lines = (folder / "stdout").read_text().splitlines()
        for name, outcome in zip(lines[::2], lines[1::2]):
            outcomes[outcome] += 1
            (folder / name).unlink()
        if ended:
            # What was under way is named by an odd last line.
            culprit = folder / (lines[-1] if len(lines) % 2 else "")
            if culprit == folder:
                raise RuntimeError(f"{ended}: {(folder / 'stderr').read_text()[-2000:]}")
            kept = culprit.with_suffix(".fatal")
            culprit.rename(kept)
            fatal.append((kept, f"{ended}: {_first_lines(folder / 'stderr')}"))
            outcomes["ends the process"] += 1
    return outcomes, fatal


def _first_lines(path: Path) -> str:
    lines = path.read_text().splitlines()
    fatal = [number for number, line in enumerate(lines) if line.startswith("Fatal Python error")]
    return "\n".join(lines[fatal[0] :][:14] if fatal else lines[-14:])


def small_network() -> dict:
    """Return the document of a few layers, so that a damaged one is often all that there is."""
    layers = [("Activation", {"act_type": "relu"}), ("Pooling", {"kernel": "(2, 2)", "stride": "(2, 2)"}), ("relu", {})]
    nodes: list[dict[str, Any]] = [{"op": "null", "name": name, "inputs": []} for name in ("data", "weight", "bias")]
    convolution = {"kernel": "(3, 3)", "num_filter": "4", "pad": "(1, 1)"}
    nodes.append({"op": "Convolution", "name": "conv", "attrs": convolution, "inputs": [[at, 0, 0] for at in range(3)]})
    for number, (op, attrs) in enumerate(layers, start=3):
        nodes.append({"op": op, "name": f"layer{number}", "attrs": attrs, "inputs": [[number, 0, 0]]})
    return {
        "nodes": nodes,
        "arg_nodes": [0, 1, 2],
        "heads": [[len(nodes) - 1, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10901]},
    }


def _wait(process: subprocess.Popen, progress: Path) -> str:
    """Wait until the process ends, or makes no progress for a while; say how it ended where it was not well."""
    before = -1
    while True:
        try:
            code = process.wait(SECONDS_PER_FILE)
            return "" if code == 0 else f"exit {code}"
        except subprocess.TimeoutExpired:
            size = progress.stat().st_size
            if size == before:
                process.kill()
                process.wait()
                return "hangs"
            before = size


if __name__ == "__main__":
    if sys.argv[1:2] == ["--watch"]:
        watch(Path(sys.argv[2]))
    else:
        known = [CHECKOUT / "models" / "sample-symbol.json"]
        squeezenet = CHECKOUT.parent / "shared" / "models" / "squeezenet_v1.0-symbol.json"
        known += [squeezenet] if squeezenet.exists() else []
        count, seed = (int(given) for given in [*sys.argv[1:], *["1000", "0"][len(sys.argv) - 1 :]])
        counts, ends = try_files(at_random(count, seed, known))
        print(dict(counts))
        for path, how in ends:
            print(f"== {path}\n{how}")
