"""Early-stopping rules: a file each, and a line in `tune_kd.space.rules`."""

import importlib

from tune_kd.space.rules import RULES
from tune_kd.tuning.rules.rule import GoOn, Rule, Step, Stepwise

__all__ = ["GoOn", "Rule", "Step", "Stepwise", "rule_named"]


def rule_named(name: str) -> type[Rule]:
    module, _, member = RULES[name].partition(":")
    found: type[Rule] = getattr(importlib.import_module(module), member)
    return found
