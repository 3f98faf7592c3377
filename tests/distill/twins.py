"""Every method's formula once more, naively and in float64, by images and classes; gradients by autograd."""

import copy
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
    return kd.row_weight * rows + kd.column_weight * columns


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


def mutual(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    """Its own weights are the other network's."""
    other = copy.deepcopy(method.other).double()
    other.load_state_dict({key.removeprefix("other."): value for key, value in own.items()})
    assert s.run is not None
    found = []
    for a, b, label in by_image(s, Seen(s.run(other)), labels):
        p, q = soft(a, 1.0), soft(b, 1.0)
        found.append(divergence(q.detach(), p) + divergence(p.detach(), q) - q[label].log())
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
    assert s.index is not None
    index, number = s.index.tolist(), len(labels)
    drawn = (torch.rand(method.negatives) * number).long().tolist()
    total = torch.zeros((), dtype=torch.float64)
    for side, maps in enumerate((s.maps[ours], t.maps[theirs])):
        bank, weight, bias = own["banks"][1 - side], own[f"embed.{side}.weight"], own[f"embed.{side}.bias"]
        rows = []
        for place, (image, label) in enumerate(zip(maps, labels.tolist(), strict=True)):
            point = weight @ image.mean((1, 2)) + bias
            point = point / (point**2).sum().sqrt()
            others = [index[k] for k in drawn if labels[k] != label]
            rows.append([(point @ bank[k] / kd.crd_temperature).exp() for k in (index[place], *others)])
        scale = (sum(map(sum, rows)) / sum(map(len, rows))).detach()
        for true, *false in rows:
            total = total - (true / scale / (true / scale + len(false))).log()
            total = total - sum((len(false) / (each / scale + len(false))).log() for each in false)
    return total / number


def mlkd(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for warmth in (kd.temperature * share for share in (2 / 4, 3 / 4, 4 / 4, 5 / 4, 6 / 4)):
        p, q = (torch.stack([soft(each, warmth) for each in seen.logits]) for seen in (s, t))
        total = total + kd.mlkd_instance * warmth**2 * mean([divergence(b, a) for a, b in zip(p, q, strict=True)])
        for weight, ours, theirs in ((kd.mlkd_batch, p, q), (kd.mlkd_class, p.T, q.T)):
            for i in range(len(ours)):
                for j in range(len(ours)):
                    total = total + weight * ((ours[i] * ours[j]).sum() - (theirs[i] * theirs[j]).sum()) ** 2 / len(
                        ours
                    )
    return total


def adversarial(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    """The state that is given is the one before the discriminator has learned."""
    hidden, classes = kd.adversarial_hidden, s.logits.shape[1]
    flat, moment, square = own["weights"].clone(), own["moments"].clone(), own["squares"].clone()
    p, q = (torch.stack([soft(each, kd.temperature) for each in seen.logits]) for seen in (s, t))

    def judge(answer: Tensor, weights: Tensor) -> Tensor:
        first, bias = weights[: hidden * classes].view(hidden, classes), weights[hidden * classes :][:hidden]
        above = first @ answer + bias
        above = torch.where(above > 0, above, 0.2 * above)
        return 1 / (1 + (-(weights[-hidden - 1 : -1] @ above + weights[-1])).exp())

    for step in range(1, kd.adversarial_steps + 1):
        weights = flat.clone().requires_grad_()
        wrong = -mean([judge(each, weights).log() for each in q])
        wrong = wrong - mean([(1 - judge(each.detach(), weights)).log() for each in p])
        (slope,) = torch.autograd.grad(wrong, weights)
        moment, square = 0.5 * moment + 0.5 * slope, 0.999 * square + 0.001 * slope**2
        flat = flat - kd.adversarial_lr * (moment / (1 - 0.5**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
    return -mean([judge(each, flat).log() for each in p])


def simkd(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    ((_, theirs),) = method.pairs
    return mean([(a - b).square().mean() for a, b in zip(s.maps["projector"], t.maps[theirs], strict=True)])


def normed(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    apart = maps - maps.mean((0, 2, 3), keepdim=True)
    scaled = apart / (apart.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    return scaled * weight[None, :, None, None] + bias[None, :, None, None]


def pooled(maps: Tensor, side: int) -> Tensor:
    step = maps.shape[2] // side
    return maps.unfold(2, step, step).unfold(3, step, step).mean((4, 5))


def reviewkd(s: Seen, t: Seen, labels: Tensor, kd: Any, own: dict[str, Tensor], method: Any) -> Tensor:
    total, deeper = torch.zeros((), dtype=torch.float64), None
    for number, (ours, theirs) in enumerate(reversed(method.pairs)):
        part = {key.removeprefix(f"levels.{number}."): value for key, value in own.items()}
        size = min(s.maps[ours].shape[2], t.maps[theirs].shape[2])
        mine, wanted = pooled(s.maps[ours], size), pooled(t.maps[theirs], size)
        here = normed(torch.einsum("oc,bchw->bohw", part["into.0.weight"][:, :, 0, 0], mine),
                      part["into.1.weight"], part["into.1.bias"])  # fmt: skip
        if deeper is not None:
            times = size // deeper.shape[2]
            below = deeper.repeat_interleave(times, 2).repeat_interleave(times, 3)
            both = torch.cat([here, below], 1)
            said = torch.einsum("oc,bchw->bohw", part["attention.weight"][:, :, 0, 0], both)
            shares = 1 / (1 + (-(said + part["attention.bias"][None, :, None, None])).exp())
            here = here * shares[:, 0][:, None] + below * shares[:, 1][:, None]
        deeper = here
        kernel, around = part["out.0.weight"], torch.nn.functional.pad(here, (1, 1, 1, 1))
        windows = around.unfold(2, 3, 1).unfold(3, 3, 1)
        found = torch.einsum("ockl,bcijkl->boij", kernel, windows)
        found = normed(found, part["out.1.weight"], part["out.1.bias"])
        told, weights, weight = (found - wanted).square().mean(), 1.0, 1.0
        for side in (4, 2, 1):
            if side < size:
                weight /= 2
                weights += weight
                told = told + weight * (pooled(found, side) - pooled(wanted, side)).square().mean()
        total = total + told / weights
    return total


TWINS: dict[str, Twin] = {
    "kd": kd, "dkd": dkd, "dist": dist, "rld": rld, "normkd": normkd, "ttm": ttm, "wttm": wttm,
    "fitnet": fitnet, "at": at, "sp": sp, "rkd": rkd, "crd": crd, "ctkd": ctkd,
    "mlkd": mlkd, "adversarial": adversarial, "reviewkd": reviewkd,
    "simkd": simkd, "mutual": mutual,
}  # fmt: skip
