"""python -m tests.chaos --kills 100: kills a search's processes at random moments, and checks that nothing is lost."""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.chaos import checks
from tests.chaos.kills import DRIVER, RAYLET, SERVER, WORKER, Game, Kill, plan
from tests.chaos.world import Failed, Machines, Search, Server, wait_for

KILLS_A_SEARCH = 10
SPREAD = 3
"""Every so many-th search runs on two nodes at once, where its answer depends on who is first."""


class Arena:
    """Machines, a server, an undisturbed search to compare with, and as many others as are wanted."""

    def __init__(self, folder: Path, settings: tuple[str, ...] = ()) -> None:
        os.environ["TUNE_KD_CACHE"] = str(folder / "cache")  # the machines' processes inherit it
        self.folder = folder
        self._settings = settings
        self._server = Server(folder)
        self._server.start()
        self._machines = Machines()
        self._undisturbed: Search | None = None

    def close(self) -> None:
        self._machines.shutdown()
        self._server.kill()

    def fight(self, number: int, seed: int, kills: list[Kill], nodes: int = 1) -> tuple[Game, list[float], int]:
        """One search under these kills, and everything that must be true of it afterwards."""
        if self._undisturbed is None and nodes == 1:
            self._undisturbed = self._search("undisturbed")
            self._play(Game(self._machines, self._server, self._undisturbed, random.Random(0)), [])
        search = self._search(f"search-{number}")
        game = Game(self._machines, self._server, search, random.Random(seed + number), nodes)
        waits = self._play(game, kills)
        left = checks.Left(search)
        checks.ledger_is_whole(left, game.kept)
        checks.mlflow_is_the_same(left, self._server, search.experiment)
        again = checks.little_is_redone(search, game)
        checks.rungs_follow(left, nodes == 1)
        checks.nothing_unfinished(search.folder)
        if self._undisturbed is not None and nodes == 1:
            checks.same_answer(self._undisturbed, search)
        checks.resumes_soon(waits, nodes)
        return game, waits, again

    def _play(self, game: Game, kills: list[Kill]) -> list[float]:
        try:
            waits = game.play(kills).waits
            wait_for(self._server.answers, "MLflow's return")
            game.search.deliver()
        finally:
            game.search.kill()
        return waits

    def _search(self, name: str) -> Search:
        return Search(self.folder / name, self._machines.address, self._server.address, self._settings)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how many (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="what is killed when follows from it (default: %(default)s)"
    )
    parser.add_argument("--search", type=int, help="only the search of this number, to see a failure again")
    given = parser.parse_args()
    started = time.monotonic()
    arena = Arena(Path(tempfile.mkdtemp(prefix="chaos-")))
    tally: Counter[str] = Counter()
    waits: dict[int, list[float]] = {1: [], 2: []}
    searches = again = 0
    number = given.search or 0
    try:
        while sum(tally.values()) < given.kills:
            wanted = min(KILLS_A_SEARCH, given.kills - sum(tally.values()))
            kills = plan(random.Random(f"{given.seed}-{number}"), KILLS_A_SEARCH)[-wanted:]
            nodes = 2 if number % SPREAD == SPREAD - 1 else 1
            try:
                game, waited, redone = arena.fight(number, given.seed, kills, nodes)
            except Failed as error:
                planned = "\n".join(f"  {kill}" for kill in kills)
                print(f"FAILED: {error}\nsearch {number} on {nodes} nodes in {arena.folder}, planned:\n{planned}")
                print(f"again: python -m tests.chaos --seed {given.seed} --search {number} --kills {wanted}")
                return 1
            tally.update(kill.victim for kill in game.done)
            waits[nodes] += waited
            again += redone
            searches += 1
            took = f"{time.monotonic() - started:5.0f} s, search {number} on {nodes} nodes"
            print(
                f"{took}, slowest resume {max(waited, default=0):.1f} s: {', '.join(map(str, game.done))}", flush=True
            )
            number += 1
    finally:
        arena.close()
    print(
        f"\n{sum(tally.values())} kills in {searches} searches, {time.monotonic() - started:.0f} s, seed {given.seed}:"
    )
    for victim in (DRIVER, WORKER, RAYLET, SERVER):
        print(f"  {victim:8} {tally[victim]:4}")
    print(f"begun again: {again} epochs")
    for nodes, each in waits.items():
        print(f"{len(each)} resumes on {nodes} nodes: work within {max(each, default=0):.1f} s of Ray")
    print("ledger, MLflow, epochs, rungs, results, answer: nothing lost, nothing twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())
