"""PyTorch's side of train.ts: the same two networks, batch, threads and conditions as `cli bench train`.

Usage: train_torch.py ARCH SIZE BATCH STEPS THREADS -> one JSON line with the keys of `cli bench train`.
Training comes first and its memory is read before the forward pass is timed, as there.
"""

import json
import resource
import sys
import time

import torch
from torch import nn


def conv_bn(inputs, outputs, kernel, stride, groups, activation):
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return layers + ([activation] if activation else [])


class BasicBlock(nn.Module):
    """He et al. 2016, figure 2."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(
            *conv_bn(inputs, outputs, 3, stride, 1, nn.ReLU(inplace=True)), *conv_bn(outputs, outputs, 3, 1, 1, None)
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_bn(inputs, outputs, 1, stride, 1, None))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.body(x) + self.shortcut(x))


def resnet18(classes):
    layers = conv_bn(3, 64, 7, 2, 1, nn.ReLU(inplace=True)) + [nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


class InvertedResidual(nn.Module):
    """Sandler et al. 2018, figure 3."""

    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        inner = inputs * expansion
        layers = conv_bn(inputs, inner, 1, 1, 1, nn.ReLU6(inplace=True)) if expansion != 1 else []
        layers += conv_bn(inner, inner, 3, stride, inner, nn.ReLU6(inplace=True)) + conv_bn(inner, outputs, 1, 1, 1, None)
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


def mobilenet_v2(classes):
    layers = conv_bn(3, 32, 3, 2, 1, nn.ReLU6(inplace=True))
    inputs = 32
    settings = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, outputs, count, stride in settings:
        for i in range(count):
            layers.append(InvertedResidual(inputs, outputs, stride if i == 0 else 1, expansion))
            inputs = outputs
    layers += conv_bn(inputs, 1280, 1, 1, 1, nn.ReLU6(inplace=True))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, classes))


def main():
    arch, size, batch, steps, threads = sys.argv[1], *map(int, sys.argv[2:6])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = {"resnet18": resnet18, "mobilenet_v2": mobilenet_v2}[arch](1000)
    sets = [torch.randn(batch, 3, size, size) for _ in range(2)]
    labels = (torch.arange(batch) * 37) % 1000
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    loss_of = nn.CrossEntropyLoss()
    images = torch.empty_like(sets[0])
    losses = []
    seconds = 0.0
    model.train()
    for at in range(3 + steps):
        start = time.perf_counter()
        images.copy_(sets[at % 2])
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if at >= 3:
            seconds += time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    model.eval()
    forward = 0.0
    with torch.inference_mode():
        for at in range(3 + steps):
            start = time.perf_counter()
            model(images)
            if at >= 3:
                forward += time.perf_counter() - start
    print(
        json.dumps(
            {
                "imagesPerSecond": batch * steps / seconds,
                "forwardImagesPerSecond": batch * steps / forward,
                "peakRssBytes": peak,
                "trainedParameters": sum(p.numel() for p in model.parameters()),
                "lossFirst": losses[0],
                "lossLast": losses[-1],
                "torch": torch.__version__,
            }
        )
    )


main()
