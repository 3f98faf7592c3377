"""No early stopping: every trial is trained to the end."""

from tune_kd.tuning.rules.rule import GoOn, Rule


class NoStopping(Rule):
    @property
    def begin(self) -> int:
        return self.last

    def onward(self) -> GoOn | None:
        """One whose process went away, or that was complete before the search got more epochs."""
        number = min(self.waiting, default=None)
        return None if number is None else GoOn(number, self.last, 0)
