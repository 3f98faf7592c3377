"""The plain way: Ray Tune with Optuna, ASHA and MLflow as their own documentation puts them together, and the training
loop of PyTorch's tutorial on distillation. With --cached the teacher's logits are computed once and shared.

Run as a script of its own, as a user would: Tune then sends the trial function itself to its processes.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import ray
import torch
from PIL import Image
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tune_kd.models import build

BATCH = 128
SHAPE = {"classes": 10, "in_shape": (3, 32, 32)}


class Pictures(Dataset):
    """What torchvision.datasets.CIFAR10 is: arrays in memory, a PIL image and a transform an item."""

    def __init__(self, images, labels, transform, logits=None):
        self.images, self.labels, self.transform, self.logits = images, labels, transform, logits

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.transform(Image.fromarray(self.images[index]))
        if self.logits is None:
            return image, int(self.labels[index])
        return image, int(self.labels[index]), self.logits[index]


def transform_of(data):
    return transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(data["mean"].tolist(), data["std"].tolist())]
    )


def train(config, data, weights, epochs):
    torch.set_num_threads(1)
    transform = transform_of(data)
    logits = data.get("logits")
    train_set = Pictures(data["images"], data["labels"], transform, logits)
    train_loader = DataLoader(train_set, batch_size=BATCH, shuffle=True)
    val_loader = DataLoader(Pictures(data["val_images"], data["val_labels"], transform), batch_size=BATCH)
    teacher = build("deepnn", **SHAPE)
    teacher.load_state_dict(weights)
    teacher.eval()
    student = build("lightnn", **SHAPE)
    optimizer = torch.optim.Adam(student.parameters(), lr=config["train.lr"])
    cross_entropy = nn.CrossEntropyLoss()
    alpha, temperature = config["kd.alpha"], config["kd.temperature"]
    for epoch in range(1, epochs + 1):
        student.train()
        running_loss, seen = 0.0, 0
        for batch in train_loader:
            inputs, labels = batch[:2]
            if logits is None:
                with torch.no_grad():
                    teacher_logits = teacher(inputs)
            else:
                teacher_logits = batch[2]
            optimizer.zero_grad()
            student_logits = student(inputs)
            soft_targets = functional.softmax(teacher_logits / temperature, dim=-1)
            soft_prob = functional.log_softmax(student_logits / temperature, dim=-1)
            soft_loss = torch.sum(soft_targets * (soft_targets.log() - soft_prob)) / len(labels) * temperature**2
            loss = alpha * soft_loss + (1 - alpha) * cross_entropy(student_logits, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            seen += len(labels)
        student.eval()
        correct = 0
        with torch.no_grad():
            for inputs, labels in val_loader:
                correct += (student(inputs).argmax(1) == labels).sum().item()
        tune.report(
            {
                "epoch": epoch,
                "train_loss": running_loss / len(train_loader),
                "val_accuracy": correct / len(data["val_labels"]),
                "images_seen": seen,
            }
        )


def cached_logits(data, weights):
    """Once, before the search, with all processors."""
    teacher = build("deepnn", **SHAPE)
    teacher.load_state_dict(weights)
    teacher.eval()
    loader = DataLoader(Pictures(data["images"], data["labels"], transform_of(data)), batch_size=512)
    with torch.no_grad():
        return torch.cat([teacher(inputs) for inputs, _ in loader]).numpy()


def main():
    started = time.time()
    flags = argparse.ArgumentParser()
    for name in ("exercise", "work", "out"):
        flags.add_argument(f"--{name}", type=Path, required=True)
    flags.add_argument("--trials", type=int, required=True)
    flags.add_argument("--epochs", type=int, required=True)
    flags.add_argument("--cached", action="store_true")
    given = flags.parse_args()

    data = dict(np.load(given.exercise / "images.npz"))
    for name in ("images", "val_images"):
        data[name] = np.ascontiguousarray(data[name].transpose(0, 2, 3, 1))
    weights = torch.load(given.exercise / "teacher.pt", weights_only=True)["model"]
    if given.cached:
        data["logits"] = cached_logits(data, weights)

    ray.init(address="local", num_cpus=2)
    search = OptunaSearch(
        metric="val_accuracy",
        mode="max",
        points_to_evaluate=json.loads((given.exercise / "first.json").read_text())[: given.trials],
        seed=0,
    )
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(train, data=data, weights=weights, epochs=given.epochs), {"cpu": 1}),
        param_space={
            "kd.alpha": tune.uniform(0.1, 1.0),
            "kd.temperature": tune.loguniform(1.0, 16.0),
            "train.lr": tune.loguniform(0.0005, 0.01),
        },
        tune_config=tune.TuneConfig(
            search_alg=search,
            # Grace for all epochs: every trial trains to its end on both sides.
            scheduler=ASHAScheduler(
                metric="val_accuracy", mode="max", time_attr="epoch", max_t=given.epochs + 1, grace_period=given.epochs
            ),
            num_samples=given.trials,
            max_concurrent_trials=2,
        ),
        run_config=tune.RunConfig(
            storage_path=str(given.work / "ray_results"),
            callbacks=[
                MLflowLoggerCallback(
                    tracking_uri=f"sqlite:///{given.work / 'mlflow.db'}", experiment_name="distillation"
                )
            ],
            verbose=0,
        ),
    )
    results = tuner.fit()
    trials = [
        {
            "epochs": int(result.metrics["epoch"]),
            "images_an_epoch": int(result.metrics["images_seen"]),
            "accuracy": result.metrics["val_accuracy"],
            "settings": result.config,
        }
        for result in results
    ]
    given.out.write_text(json.dumps({"trials": trials, "seconds_inside": time.time() - started}))
    ray.shutdown()


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    main()
