"""Makes resnet18-losses.json and network-gradients.json with PyTorch, from networks of the project's own graph builder.

    python3 make-torch-fixtures.py [node]

Each network is written by dump-network.ts (run by `node`, version 24) and interpreted with torch's functions; the gradients are torch's own.
Inputs and targets come from hashed-data.ts's generator. Everything runs in float64, so that the fixtures hold no rounding of their own.

The loss of a ReLU network has kinks: an activation within float32's error of 0 falls on either side, and its gradient is then off by
1/sqrt(elements of its map), in PyTorch's float32 as well. Gradients are taken at the first seed where no activation is within CLEAR of a kink
(EfficientNet-lite0, which has MobileNetV2's operators, starts with so large gradients that CLEAR would not do). The training run's seed is one
where none is within 8e-6 at the start (with seed 11 one stands at 5e-7, and the runs part by 6e-4 after one step); the rate is small, and two
batches take turns, so that the loss falls.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).parent
NODE = sys.argv[1] if len(sys.argv) > 1 else "node"
torch.set_num_threads(2)
RATE = 0.0001
# Where the slope of an activation jumps (Clip is ReLU6 here).
KINKS = {"Relu": [0], "Clip": [0, 6], "HardSwish": [-3, 3], "HardSigmoid": [-3, 3]}
CLEAR = 2e-6


def hashed(length, stream):
    mask = np.uint64(0xFFFFFFFF)
    h = (np.arange(length, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(stream * 97531)) & mask
    h ^= h >> np.uint64(15)
    h = (h * np.uint64(2246822519)) & mask
    h ^= h >> np.uint64(13)
    return torch.from_numpy((h.astype(np.float64) / 2**31 - 1).astype(np.float32).astype(np.float64))


class Network:
    def __init__(self, architecture, size, batch, classes, width, seed):
        with tempfile.TemporaryDirectory() as folder:
            out = f"{folder}/network"
            args = [architecture, size, batch, classes, width, seed, out]
            subprocess.run([NODE, str(HERE / "dump-network.ts"), *map(str, args)], check=True)
            description = json.loads(pathlib.Path(out + ".json").read_text())
            raw = pathlib.Path(out + ".bin").read_bytes()
        self.nodes = description["nodes"]
        self.nearest_kink = float("inf")
        self.values = {}
        types = {"float32": np.float32, "int64": np.int64}
        for item in description["initializers"]:
            data = np.frombuffer(raw, types[item["type"]], int(np.prod(item["dims"])), item["at"]).reshape(item["dims"])
            self.values[item["name"]] = torch.from_numpy(data.astype(np.float64) if item["type"] == "float32" else data.copy())
        self.running = {name for node in self.nodes if node["op"] == "BatchNormalization" for name in node["inputs"][3:5]}

    def run(self, x):
        values = dict(self.values, input=x)
        for node in self.nodes:
            arguments = [values[name] if name else None for name in node["inputs"]]
            for at in KINKS.get(node["op"], []):
                self.nearest_kink = min(self.nearest_kink, (arguments[0].detach() - at).abs().min().item())
            values[node["outputs"][0]] = self.apply(node["op"], node["attributes"], arguments)
        return values["logits"]

    def apply(self, op, a, v):
        if op == "Conv":
            assert a["pads"][:2] == a["pads"][2:]
            return F.conv2d(v[0], v[1], v[2] if len(v) > 2 else None, a["strides"], a["pads"][:2], a["dilations"], a["group"])
        if op == "BatchNormalization":
            return F.batch_norm(v[0], v[3], v[4], v[1], v[2], True, 1 - a["momentum"], a["epsilon"])
        if op == "Clip":
            return F.hardtanh(v[0], float(v[1]), float(v[2]))
        if op == "MaxPool":
            return F.max_pool2d(v[0], a["kernel_shape"], a["strides"], a["pads"][:2])
        if op == "HardSigmoid":
            return F.hardsigmoid(v[0])
        if op == "Flatten":
            return v[0].flatten(1)
        if op == "Gemm":
            return F.linear(v[0], v[1], v[2])
        if op == "Reshape":
            return v[0].reshape([v[0].shape[i] if d == 0 else int(d) for i, d in enumerate(v[1])])
        if op == "Transpose":
            return v[0].permute(a["perm"])
        if op == "Expand":
            return v[0].expand(torch.broadcast_shapes(v[0].shape, tuple(int(d) for d in v[1])))
        if op == "Concat":
            return torch.cat(v, a["axis"])
        if op == "LayerNormalization":
            return F.layer_norm(v[0], v[0].shape[a["axis"] :], v[1], v[2], a["epsilon"])
        if op == "Gather":
            picked = torch.index_select(v[0], a["axis"], v[1].reshape(-1))
            return picked.reshape(*v[0].shape[: a["axis"]], *v[1].shape, *v[0].shape[a["axis"] + 1 :])
        if op == "Softmax":
            return torch.softmax(v[0], a["axis"])
        simple = {
            "Relu": torch.relu,
            "HardSwish": F.hardswish,
            "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
            "Erf": torch.erf,
            "Add": torch.add,
            "Mul": torch.mul,
            "Div": torch.div,
            "MatMul": torch.matmul,
        }
        return simple[op](*v)


def batch_of(size, batch, classes, stream):
    return hashed(batch * 3 * size * size, stream).reshape(batch, 3, size, size), torch.arange(batch) % classes


def gradients(architecture, size, batch, classes, width, seed):
    x, target = batch_of(size, batch, classes, 1)
    while True:
        network = Network(architecture, size, batch, classes, width, seed)
        start = {name: tensor.clone() for name, tensor in network.values.items()}
        with torch.no_grad():
            network.run(x)
        network.values = start
        if network.nearest_kink > CLEAR:
            break
        seed += 1
    trained = {n: t for n, t in network.values.items() if t.is_floating_point() and t.dim() > 0 and n not in network.running}
    for tensor in trained.values():
        tensor.requires_grad_(True)
    loss = F.cross_entropy(network.run(x), target)
    loss.backward()
    entries = {}
    for name, tensor in trained.items():
        if tensor.grad is None:
            continue
        probe = hashed(tensor.numel(), 7).reshape(tensor.shape)
        entries[name] = [float(f"{tensor.grad.norm():.9g}"), float(f"{(tensor.grad * probe).sum():.9g}")]
    running = {name: float(f"{network.values[name].norm():.9g}") for name in sorted(network.running)}
    return {
        "network": {"architecture": architecture, "size": size, "batch": batch, "classes": classes, "width": width, "seed": seed},
        "loss": float(loss),
        "gradients": entries,
        "running": running,
    }


def losses(architecture, size, batch, classes, width, seed, steps, rate, momentum, decay):
    network = Network(architecture, size, batch, classes, width, seed)
    trained = [t for n, t in network.values.items() if t.is_floating_point() and t.dim() > 0 and n not in network.running]
    for tensor in trained:
        tensor.requires_grad_(True)
    optimizer = torch.optim.SGD(trained, rate, momentum, weight_decay=decay)
    found = []
    for step in range(steps):
        x, target = batch_of(size, batch, classes, step % 2)
        optimizer.zero_grad()
        loss = F.cross_entropy(network.run(x), target)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return {
        "network": {"architecture": architecture, "size": size, "batch": batch, "classes": classes, "width": width, "seed": seed},
        "optimizer": {"learningRate": rate, "momentum": momentum, "weightDecay": decay},
        "madeWith": f"PyTorch {torch.__version__}, float64",
        "losses": found,
    }


def write(name, value):
    text = json.dumps(value, indent=2)
    (HERE / name).write_text(text + "\n")


write("resnet18-losses.json", losses("resnet18", 32, 8, 4, 1, 14, 20, RATE, 0.9, 1e-4))
write(
    "network-gradients.json",
    [
        gradients("resnet18", 64, 8, 5, 0.25, 3),
        gradients("mobilenet_v2", 64, 8, 5, 0.35, 3),
        gradients("mobilenet_v3_small", 64, 8, 5, 0.5, 3),
        gradients("vit_tiny", 32, 4, 5, 1, 3),
    ],
)
