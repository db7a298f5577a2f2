"""PyTorch's side of miml_scene.py: SqueezeNet fine-tuned by AdamW with a one-cycle rate; run by the peers' Python.

Prints one JSON object with the validation mAP and the seconds of each epoch. The preprocessing is the pretrained
network's own (caffe's); the augmentation is a random crop and a mirror, as mxml's. channels_last, all threads and no
loader workers, which is the fastest for this network on two processors (``train_speed.py`` tries it).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Iterable

import cv2
import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import nn
from torch_models import load_pretrained, squeezenet
from torch_training import Photographs, train

SIZE, BATCH = 224, 32
CAFFE_MEAN = (104.0, 117.0, 123.0)
WEIGHT_DECAY = 0.01


def mean_average_precision(network: nn.Module, batches: Iterable) -> float:
    scores, labels = [], []
    with torch.inference_mode():
        for data, known in batches:
            scores.append(network(data.permute(0, 3, 1, 2)).numpy())
            labels.append(known.numpy())
    return float(average_precision_score(np.concatenate(labels), np.concatenate(scores), average="macro"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True, help=".npz file of the pretrained parameters")
    parser.add_argument("--train", required=True)
    parser.add_argument("--val", required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="the highest of the cycle")
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    cv2.setNumThreads(1)
    training = Photographs(options.train, options.root, SIZE, CAFFE_MEAN)
    validation = Photographs(options.val, options.root, SIZE, CAFFE_MEAN, augmented=False)
    network = squeezenet(len(training.labels[0]))
    load_pretrained(network, options.weights)
    network = network.to(memory_format=torch.channels_last)
    batches = torch.utils.data.DataLoader(training, BATCH, shuffle=True)
    val_batches = torch.utils.data.DataLoader(validation, BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.rate, total_steps=options.epochs * len(batches))
    epochs = []
    for _ in range(options.epochs):
        started = time.perf_counter()
        train(network.train(), optimizer, batches, schedule)
        reached = mean_average_precision(network.eval(), val_batches)
        epochs.append({"mAP": reached, "seconds": time.perf_counter() - started})
    print(json.dumps({"epochs": epochs}))


if __name__ == "__main__":
    main()
