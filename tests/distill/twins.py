"""Every method's formula once more, naively and in float64, by images and classes; gradients by autograd."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tune_kd.distill.method import Seen

Twin = Callable[[Seen, Seen, Tensor, Any, dict[str, Tensor], Any], Tensor]


def soft(logits: Tensor, temperature: Any) -> Tensor:
    powers = (logits / temperature - (logits / temperature).max().detach()).exp()
    return powers / powers.sum()


def divergence(wanted: Tensor, found: Tensor) -> Tensor:
    return sum((t * (t / s).log() for t, s in zip(wanted, found, strict=True)), torch.zeros((), dtype=torch.float64))


def by_image(seen_s: Seen, seen_t: Seen, labels: Tensor) -> list[tuple[Tensor, Tensor, int]]:
    return list(zip(seen_s.logits, seen_t.logits, labels.tolist(), strict=True))


def mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).sum() / len(values)


def kd(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    T = kd.temperature
    return T**2 * mean([divergence(soft(b, T), soft(a, T)) for a, b, _ in by_image(s, t, labels)])


def ctkd(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    T = kd.ctkd_lowest + kd.ctkd_span / (1 + (-own["place"]).exp())
    return T**2 * mean([divergence(soft(b, T), soft(a, T)) for a, b, _ in by_image(s, t, labels)])


def pair(p: Tensor, label: int) -> Tensor:
    return torch.stack([p[label], 1 - p[label]])


def without(p: Tensor, label: int) -> Tensor:
    rest = torch.cat([p[:label], p[label + 1 :]])
    return rest / rest.sum()


def dkd(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    T, found = kd.temperature, []
    for a, b, label in by_image(s, t, labels):
        p, q = soft(a, T), soft(b, T)
        target, rest = divergence(pair(q, label), pair(p, label)), divergence(without(q, label), without(p, label))
        found.append(kd.target_weight * target + kd.rest_weight * rest)
    return T**2 * mean(found)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt()


def dist(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    T = kd.temperature
    p, q = (torch.stack([soft(each, T) for each in seen.logits]) for seen in (s, t))
    rows = mean([1 - correlation(a, b) for a, b in zip(p, q, strict=True)])
    columns = mean([1 - correlation(a, b) for a, b in zip(p.T, q.T, strict=True)])
    return T**2 * (kd.row_weight * rows + kd.column_weight * columns)


def rld(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    T, found = kd.temperature, []
    for a, b, label in by_image(s, t, labels):
        p, q = soft(a, T), soft(b, T)
        sure = divergence(torch.stack([q.max(), 1 - q.max()]), pair(p, label))
        kept = [k for k in range(len(b)) if b[k] < b[label]]
        rest = divergence(soft(b[kept], T), soft(a[kept], T)) if kept else a.sum() * 0
        found.append(kd.rld_sure * sure + kd.rld_rest * rest)
    return T**2 * mean(found)


def normkd(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    found = []
    for a, b, _ in by_image(s, t, labels):
        warm_a, warm_b = kd.temperature * a.std(), kd.temperature * b.std()
        found.append(warm_b**2 * divergence(soft(b, warm_b), soft(a, warm_a)))
    return mean(found)


def ttm(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    found = []
    for a, b, _ in by_image(s, t, labels):
        power = soft(b, 1.0) ** (1 / kd.temperature)
        found.append(divergence(power / power.sum(), soft(a, 1.0)))
    return mean(found)


def wttm(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    found = []
    for a, b, _ in by_image(s, t, labels):
        power = soft(b, 1.0) ** (1 / kd.temperature)
        found.append(power.sum() * divergence(power / power.sum(), soft(a, 1.0)))
    return mean(found)


def fitnet(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    ((ours, theirs),) = method.pairs
    weight, bias = own["regressors.0.weight"][:, :, 0, 0], own["regressors.0.bias"]
    guess = torch.einsum("oc,bchw->bohw", weight, s.maps[ours]) + bias[None, :, None, None]
    return (guess - t.maps[theirs]).square().mean()


def at(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for ours, theirs in method.pairs:
        looks = []
        for maps in (s.maps[ours], t.maps[theirs]):
            flat = torch.stack([(image**2).sum(0).flatten() / len(image) for image in maps])
            looks.append(torch.stack([row / (row**2).sum().sqrt() for row in flat]))
        total = total + (looks[0] - looks[1]).square().mean()
    return total


def sp(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    ((ours, theirs),) = method.pairs
    tables = []
    for maps in (s.maps[ours], t.maps[theirs]):
        rows = [torch.stack([(a * b).sum() for b in maps]) for a in maps]
        tables.append(torch.stack([row / (row**2).sum().sqrt() for row in rows]))
    return (tables[0] - tables[1]).square().sum() / len(labels) ** 2


def huber(a: Tensor, b: Tensor) -> Tensor:
    apart = (a - b).abs()
    return torch.where(apart < 1, apart**2 / 2, apart - 0.5)


def rkd(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    ((ours, theirs),) = method.pairs
    points = [maps.mean((2, 3)) for maps in (s.maps[ours], t.maps[theirs])]
    n, zero = len(labels), torch.zeros((), dtype=torch.float64)
    spaces, corners = [], []
    for own_points in points:
        apart = {
            (i, j): ((own_points[i] - own_points[j]) ** 2).sum().sqrt() for i in range(n) for j in range(n) if i != j
        }
        scale = mean(list(apart.values()))
        spaces.append({key: value / scale for key, value in apart.items()})
        unit = {(i, j): (own_points[j] - own_points[i]) / apart[i, j] for i, j in apart}
        corners.append({(i, j, k): (unit[i, j] * unit[i, k]).sum() for i, j in unit for k in range(n) if k != i})
    distance = sum((huber(spaces[0][key], spaces[1][key]) for key in spaces[0]), zero) / n**2
    angle = sum((huber(corners[0][key], corners[1][key]) for key in corners[0]), zero) / n**3
    return kd.rkd_distance * distance + kd.rkd_angle * angle


def crd(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    ((ours, theirs),) = method.pairs
    seen = torch.zeros(len(own["seen"]))
    seen[s.index] = 1
    others = torch.multinomial(seen, method.negatives, replacement=True)
    total = torch.zeros((), dtype=torch.float64)
    for side, maps in enumerate((s.maps[ours], t.maps[theirs])):
        bank, weight, bias = own["banks"][1 - side], own[f"embed.{side}.weight"], own[f"embed.{side}.bias"]
        points = [weight @ image.mean((1, 2)) + bias for image in maps]
        points = [point / (point**2).sum().sqrt() for point in points]
        likely = [[(point @ bank[k] / kd.crd_temperature).exp() for k in [own_number, *others.tolist()]]
                  for point, own_number in zip(points, s.index.tolist(), strict=True)]  # type: ignore[union-attr]  # fmt: skip
        scale = torch.stack([torch.stack(row) for row in likely]).mean().detach()
        for true, *false in likely:
            total = total - (true / scale / (true / scale + len(false))).log()
            total = total - sum((len(false) / (each / scale + len(false))).log() for each in false)
    return total / len(labels)


TWINS: dict[str, Twin] = {
    "kd": kd, "dkd": dkd, "dist": dist, "rld": rld, "normkd": normkd, "ttm": ttm, "wttm": wttm,
    "fitnet": fitnet, "at": at, "sp": sp, "rkd": rkd, "crd": crd, "ctkd": ctkd,
}  # fmt: skip
