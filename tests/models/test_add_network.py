"""The example of docs/add/network.md is a family like any other."""

import re
import sys
from pathlib import Path

import pytest

from tests.models.suite import NetworkSuite
from tune_kd.errors import InputError
from tune_kd.models import registry

PAGE = Path(__file__).parents[2] / "docs" / "add" / "network.md"


class TestTheExample(NetworkSuite):
    name = "plain.16"

    @pytest.fixture(autouse=True)
    def added(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        code, line = re.findall(r"```(?:python|text)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        family = re.match(r'"(\S+)": "tune_kd.models.\w+",\n$', line)
        assert family
        (tmp_path / "kd_plain.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "kd_plain", raising=False)
        monkeypatch.setitem(registry.FAMILIES, family.group(1), "kd_plain")  # type: ignore[arg-type]

    def test_its_messages_are_its_own(self) -> None:
        with pytest.raises(InputError, match=r"write plain\.WIDTH"):
            registry.build("plain.wide", classes=5, in_shape=(3, 8, 8))
        with pytest.raises(InputError, match="no weights of its own"):
            registry.start("plain.16", True, classes=5, in_shape=(3, 8, 8))
