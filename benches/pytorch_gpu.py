"""The two networks in PyTorch on the card: medians of a prediction and a training step.

Prints one JSON object; rows are float32 with and without TF32, channels-last, and bfloat16 autocast.
"""
import json
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


def pair(conv, norm, inputs, outputs, kernel=3, rectified=True):
    layers = [conv(inputs, outputs, kernel, padding="same"), norm(outputs, eps=1e-3)]
    layers += [nn.ReLU()] if rectified else []
    return nn.Sequential(*layers, conv(outputs, outputs, kernel, padding="same"), norm(outputs, eps=1e-3), nn.ReLU())


class UNet(nn.Module):
    """The original's design: four levels, two convolutions each, a joined way up."""

    def __init__(self, dims, channels, filters, outputs, last, floor):
        super().__init__()
        conv, norm = (nn.Conv3d, nn.BatchNorm3d) if dims == 3 else (nn.Conv2d, nn.BatchNorm2d)
        self.pool = F.max_pool3d if dims == 3 else F.max_pool2d
        width = [filters << level for level in range(5)]
        ends = list(zip([channels] + width[:3], width[:4]))
        self.down = nn.ModuleList(
            pair(conv, norm, i, o, rectified=dims == 3 or level < 3) for level, (i, o) in enumerate(ends)
        )
        self.floor = pair(conv, norm, width[3], width[4], floor)
        self.up = nn.ModuleList(pair(conv, norm, width[k] + width[k + 1], width[k]) for k in (3, 2, 1, 0))
        self.last = conv(filters, outputs, last, padding="same")

    def forward(self, x):
        skips = []
        for down in self.down:
            skips.append(down(x))
            x = self.pool(skips[-1], 2)
        x = self.floor(x)
        for up in self.up:
            x = up(torch.cat([skips.pop(), F.interpolate(x, scale_factor=2.0, mode="nearest")], 1))
        return self.last(x)


def median(run, repeat=7):
    times = []
    for _ in range(repeat + 2):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return round(statistics.median(times[2:]), 5)


def figures(network, shape, batch, last, autocast):
    layout = torch.channels_last_3d if last and len(shape) == 4 else torch.channels_last
    x = torch.randn(batch, *shape, device="cuda")
    if last:
        network, x = network.to(memory_format=layout), x.to(memory_format=layout)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)

    def forward():
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
            return network(x)

    def step():
        optimiser.zero_grad()
        (forward().float() - 1).abs().mean().backward()
        optimiser.step()

    network.eval()
    with torch.no_grad():
        prediction = median(forward)
    network.train()
    return {"forward": prediction, "train_step": median(step)}


def main():
    result = {"torch": torch.__version__, "card": torch.cuda.get_device_name()}
    kinds = {
        "detection": (lambda: UNet(3, 1, 16, 2, 3, 3), (1, 64, 64, 80)),
        "identification": (lambda: UNet(2, 8, 32, 1, 1, (5, 20)), (8, 80, 320)),
    }
    rows = [("float32", False, False, False), ("tf32", True, False, False),
            ("tf32 channels-last", True, True, False), ("bfloat16 channels-last", True, True, True)]
    for name, (make, shape) in kinds.items():
        for row, tf32, last, autocast in rows:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
            for batch in (1, 2, 4, 16, 32):
                key = f"{name}, {row}, batch {batch}"
                try:
                    result[key] = figures(make().cuda(), shape, batch, last, autocast)
                except RuntimeError as error:
                    result[key] = str(error).splitlines()[0]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
