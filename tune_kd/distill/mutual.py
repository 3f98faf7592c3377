"""Deep mutual learning: two networks that nobody taught learn side by side, each from what the other says."""

import torch.nn.functional as F
from torch import Tensor

from tune_kd.distill.logits import kl
from tune_kd.distill.method import Given, Method, Seen


class Mutual(Method):
    """The other one has weights of its own, sees the same pictures, and is gone when the student is exported."""

    peer = True

    def __init__(self, given: Given, mutual_peer: str) -> None:
        super().__init__(given)
        assert given.fresh is not None
        self.other = given.fresh(mutual_peer)

    def term(self, student: Seen, teacher: Seen, labels: Tensor, epoch: int) -> dict[str, Tensor]:
        assert student.run is not None
        theirs = student.run(self.other)
        log_s, log_o = F.log_softmax(student.logits, 1), F.log_softmax(theirs, 1)
        learned = F.cross_entropy(theirs, labels) + kl(log_o, log_s.detach()).mean()
        return {"student": kl(log_s, log_o.detach()).mean(), "peer": learned}
