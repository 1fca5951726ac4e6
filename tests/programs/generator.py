"""Draws programs: each uses some of the pool's features, and some kinds of misbehaviour."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from tests.programs import language as lang
from tests.programs.language import Block, Call, Device, Disturbance, Items, Policy, Program, Rate, Setup, Statement
from tests.programs.raising import CONTROLS, DEEP, DEEP_STRAY, ODD, ORDINARY, RUDE, STRAY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

T = TypeVar("T")

FEATURES = (
    # What jobs and bodies do.
    "waits inside",
    "groups",
    "graphs",
    "streams",
    "async items",
    "early leaving",
    "failing items",
    "lending",
    "acquire",
    "nurseries",
    "scopes",
    "shields",
    "clean-up",
    "cancelling",
    "swallowing",
    "translating",
    "hedges",
    "retries",
    "controls",
    "timeouts",
    "priorities",
    "pins",
    "after",
    "reserve",
    "must succeed",
    "loud",
    # The pool and its workers.
    "lifespans",
    "trouble with lifespans",
    "reopening",
    "elastic",
    "slots",
    "staff",
    "rates",
    "units",
    "max_running",
    "keys",
    "places",
    "breakers",
    "budget",
    "full queue",
    "on_failure",
    "on_dead",
    "no_worker",
    "closing",
    "settings",
    "recycling",
    # From outside.
    "cancelled outside",
    "disturbances",
    "body fails",
    # Misbehaviour.
    "rude",
    "odd",
    "deep",
    "stray",
    "items in nurseries",
    "scoped items",
    "dying lifespans",
    "bad rules",
    "bad on_failure",
    "bad instruments",
)

TIMES = (0.0, 0.5, 0.5, 1.0, 1.0, 1.0, 2.0, 3.0)
"""Few and even ones, so that things come due at the same instant."""

TAGS = ("a", "b")


@attrs.frozen
class Choice:
    """Which features programs use: some, by chance, of all that are not left out, and those that each one has."""

    without: frozenset[str] = frozenset()
    always: frozenset[str] = frozenset()


ANY = Choice()


def program_of(seed: int, choice: Choice = ANY) -> Program:
    """The program that a seed gives."""
    return _Drawing(Random(seed), choice).program(seed)


class _Drawing:
    def __init__(self, rng: Random, choice: Choice) -> None:
        self.rng = rng
        share = rng.choice((0.15, 0.3, 0.5, 0.8))
        some = frozenset(each for each in FEATURES if rng.random() < share)
        self.features = (some - choice.without) | choice.always
        # How many statements there may be yet.
        self.budget = rng.choice((4, 10, 20, 40, 80))

    # Choosing.

    def has(self, feature: str, chance: float = 1.0) -> bool:
        """Whether to use a feature here."""
        return feature in self.features and self.rng.random() < chance

    def one_of(self, *choices: T) -> T:
        return self.rng.choice(choices)

    def time(self) -> float:
        return self.rng.choice(TIMES)

    def weighted(self, choices: Sequence[tuple[float, Callable[[], T]]]) -> T:
        weights = [weight for weight, _ in choices]
        return self.rng.choices([make for _, make in choices], weights)[0]()

    # The whole.

    def program(self, seed: int) -> Program:
        setup = self.setup()
        body = self.block(depth=0, inside=False)
        if self.has("body fails", 0.5):
            body = (*body, lang.Raise(self.error_kind()))
        return Program(
            body,
            setup,
            cancel_at=self.one_of(0.0, 0.5, 1.0, 2.0, 3.5, 7.0) if self.has("cancelled outside", 0.7) else None,
            disturbances=self.disturbances(),
            seed=seed,
        )

    def disturbances(self) -> tuple[Disturbance, ...]:
        if not self.has("disturbances"):
            return ()
        kinds: list[Any] = ["cancel a scope", "cancel a job", "pause", "rest", "pause pool", "rest pool"]
        if "cancelled outside" in self.features:
            kinds += ["cancel outside", "cancel"]
        if "closing" in self.features:
            kinds += ["close", "close a group"]
        if "groups" in self.features:
            kinds.append("cancel a group")
        if "staff" in self.features:
            kinds.append("remove")
        if "dying lifespans" in self.features:
            kinds.append("break")
        number = self.one_of(1, 1, 2, 4)
        steps = sorted(int(self.rng.expovariate(1 / 60)) + 1 for _ in range(number))
        return tuple(Disturbance(step, self.rng.choice(kinds), self.rng.randrange(8)) for step in steps)

    # The pool.

    def setup(self) -> Setup:
        changes: dict[str, Any] = {}
        if self.has("slots", 0.7):
            changes["slots"] = self.one_of(1, 2, 3)
        elif self.has("elastic", 0.7):
            least = self.one_of(0, 0, 1, 2)
            changes["elastic"] = (least, least + self.one_of(1, 2, 3) - (least == 2))
            changes["idle_timeout"] = self.one_of(0.0, 0.5, 3.0, 60.0)
            changes["open_after"] = self.one_of(0.0, 0.0, 0.5, 2.0)
            changes["lifespan"] = True
        elif self.has("lifespans"):
            changes["lifespan"] = True
        if "lifespan" in changes:
            changes["max_opening"] = self.one_of(1, 2, 8, None)
            if self.has("reopening", 0.7):
                changes["reopening"] = attrs.evolve(self.policy(), max_attempts=self.one_of(1, 2, 3, None))
        number = 1 if "elastic" in changes else self.one_of(1, 1, 2, 2, 3, 4)
        changes["devices"] = tuple(self.device("lifespan" in changes) for _ in range(number))
        if self.has("retries", 0.5):
            changes["retry"] = self.policy()
        if self.has("timeouts", 0.3):
            changes["attempt_timeout"] = self.one_of(0.0, 0.5, 1.0, 2.0)
        if self.has("timeouts", 0.3):
            changes["total_timeout"] = self.one_of(0.0, 0.5, 1.0, 3.0, 10.0)
        if self.has("full queue"):
            changes["max_queue"] = self.one_of(0, 1, 2, 3)
        if self.has("max_running", 0.6):
            changes["max_running"] = self.one_of(1, 1, 2, 3)
        if self.has("rates", 0.6):
            changes["rate"] = self.rate()
        if self.has("units", 0.6):
            changes["unit_rate"], changes["is_shared"] = self.unit_rate(), self.one_of(False, False, True)
        if self.has("keys", 0.8):
            changes["per_key"] = self.key_bounds()
        if self.has("budget"):
            changes["budget"] = (self.one_of(0.0, 0.2, 1.0), self.one_of(0, 1, 3), self.one_of(1.0, 10.0))
        if self.has("breakers", 0.6):
            changes["breaker"] = self.breaker()
        if self.has("priorities", 0.5):
            changes["order"] = self.one_of("fifo", "lifo")
        if self.has("pins", 0.5):
            changes["pick"] = self.one_of("last_used", "random")
        if self.has("no_worker"):
            changes["no_worker"] = self.one_of("wait", "bury")
        if self.has("on_failure"):
            changes["on_failure"] = "answers"
        if self.has("bad on_failure"):
            kinds = ["raises", "nonsense", "same", "meddles"]
            kinds += ["value"] if "odd" in self.features else []
            kinds += ["base"] if "rude" in self.features else []
            kinds += ["stray"] if "stray" in self.features else []
            changes["on_failure"] = self.rng.choice(kinds)
        if self.has("on_dead"):
            changes["on_dead"] = self.one_of("keep", "cancel")
            changes["max_dead"] = self.one_of(0, 1, 1000)
        if self.has("settings", 0.2):
            changes["history"] = False
        if self.has("bad instruments", 0.6):
            changes["raises_at"] = self.rng.randrange(1, 40)
        if self.has("bad instruments", 0.6):
            changes["calls_at"] = self.rng.randrange(1, 40)
            changes["calls"] = self.one_of("cancel a job", "cancel a group", "cancel", "close", "pause", "rest")
        return Setup(**changes)

    def device(self, has_lifespan: bool) -> Device:
        changes: dict[str, Any] = {}
        if self.has("pins", 0.5):
            changes["tags"] = self.one_of(("a",), ("b",), ("a", "b"))
        if self.has("places", 0.6):
            changes["places"] = self.places()
        if self.has("rates", 0.4):
            changes["rate"] = self.rate()
        if self.has("units", 0.5):
            changes["unit_rate"] = self.unit_rate()
        if self.has("breakers", 0.4):
            changes["breaker"] = self.breaker()
        if has_lifespan:
            if self.has("recycling", 0.5):
                changes["max_jobs"] = self.one_of(1, 2, 3)
            if self.has("recycling", 0.3):
                changes["reopens"] = True
            if self.has("recycling", 0.3):
                changes["check"] = self.one_of(0.5, 1.0, 2.0)
            if self.has("recycling", 0.5):
                changes["max_age"] = self.one_of(0.5, 1.0, 3.0)
            if self.has("trouble with lifespans", 0.4):
                changes["failures"] = self.one_of(1, 2, 3)
                changes["fails_from"] = self.one_of(0, 1, 1, 1)
            if self.has("trouble with lifespans", 0.5):
                changes["opening"] = self.time()
            if self.has("trouble with lifespans", 0.5):
                changes["closing"] = self.time()
                changes["shielded"] = self.one_of(True, False)
            if self.has("trouble with lifespans", 0.2):
                changes["farewell"] = self.rng.choice(self.kinds(("value", "os", "group")))
            if self.has("dying lifespans", 0.6):
                changes["life"] = self.one_of(0.0, 0.5, 1.0, 2.0, 3.0)
                changes["lives"] = self.one_of(1, 1, 2, 3)
                kinds = ["scope", "scope", "error", "group"] + (["stray"] if "stray" in self.features else [])
                changes["death"] = self.rng.choice(kinds)
        return Device(**changes)

    def unit_rate(self) -> Rate:
        return Rate(self.one_of(1, 2, 4), burst=self.one_of(1, 2, 5), unit=self.one_of("x", "x", "y"))

    def key_bounds(self) -> lang.KeyBounds:
        rate = self.one_of(self.rate, self.unit_rate)() if self.rng.random() < 0.4 else None
        return lang.KeyBounds(self.one_of(None, 1, 1, 2), rate, self.one_of(True, False), self.one_of(True, False))

    def uses(self) -> tuple[tuple[str, float], ...]:
        return tuple(
            (unit, self.one_of(0, 0.5, 1, 1, 2, 6)) for unit in self.one_of(("x",), ("x",), ("y",), ("x", "y"))
        )

    def places(self) -> int:
        return self.one_of(1, 2, 2, 3, 5, 0)

    def rate(self) -> Rate:
        return Rate(self.one_of(1, 2, 4), burst=self.one_of(1, 1, 2, 3))

    def breaker(self) -> lang.Breaker:
        rules: list[Any] = ["all", "all", "value", "function"]
        if "bad rules" in self.features:
            rules += ["raises", "nonsense"]
        longest = self.one_of(None, None, 8.0)
        numbers = self.one_of(1, 2, 3), self.one_of(0.5, 2.0), longest
        return lang.Breaker(*numbers, self.rng.choice(rules), self.one_of(None, None, 0.5, 1.0))

    def policy(self) -> Policy:
        rules: list[Any] = ["all", "all", "all", "value", "function"]
        curves: list[Any] = ["plain", "plain", "plain", "own"]
        if "bad rules" in self.features:
            rules += ["raises", "nonsense"]
            curves += ["raises", "nonsense"]
        return Policy(
            max_attempts=self.one_of(1, 2, 3, 4),
            delay=self.one_of(0.0, 0.0, 0.5, 1.0),
            multiplier=self.one_of(1.0, 2.0),
            jitter=self.one_of("none", "none", "full", "equal", "decorrelated"),
            placement=self.one_of("any", "same", "other", "other"),
            front=self.one_of(False, True),
            retry_on=self.rng.choice(rules),
            curve=self.rng.choice(curves),
        )

    # What is raised.

    def kinds(self, usual: Collection[str]) -> list[str]:
        return [*usual, *(ODD if "odd" in self.features else ())]

    def error_kind(self, *, job: bool = False) -> str:
        """Something to raise."""
        found = self.kinds(ORDINARY) * 2
        if "deep" in self.features:
            found += DEEP
        if "rude" in self.features and self.rng.random() < 0.3:
            found += RUDE
        if "stray" in self.features:
            found += STRAY
            if "deep" in self.features:
                found += DEEP_STRAY
        if job and "controls" in self.features:
            found += [*CONTROLS, *CONTROLS]
        return self.rng.choice(found)

    # Blocks of statements.

    def block(self, *, depth: int, inside: bool, least: int = 1) -> Block:
        """Some statements; ``inside`` of a job or in the body."""
        number = self.rng.randrange(least, 5) if depth else self.one_of(1, 2, 3, 4, 6, 10)
        found: list[Statement] = []
        for _ in range(number):
            if self.budget <= 0 and len(found) >= least:
                break
            self.budget -= 1
            found.append(self.statement(depth, inside))
        return tuple(found)

    def statement(self, depth: int, inside: bool) -> Statement:
        deep = depth >= 4 or self.budget <= 0
        may_wait = not inside or "waits inside" in self.features
        choices: list[tuple[float, Callable[[], Statement]]] = [(3, lambda: lang.Sleep(self.time()))]
        if inside and self.has("units"):
            choices.append((1, lambda: lang.Use(*self.uses()[0])))

        def add(weight: float, feature: str, make: Callable[[], Statement]) -> None:
            if not feature or feature in self.features:
                choices.append((weight, make))

        if inside:
            add(2, "", lambda: lang.Raise(self.error_kind(job=True), self.one_of(0, 1, 1, 2)))
        if not deep:
            may_submit = not inside or self.rng.random() < 0.6
            if may_submit:
                add(8 if not inside else 4, "", lambda: self.submit(depth))
                add(1, "graphs", lambda: self.graph(depth))
            if may_wait and may_submit:
                add(6 if not inside else 4, "", lambda: self.run(depth))
                add(3, "streams", lambda: self.stream(depth, inside))
                add(2, "groups", lambda: self.group(depth, inside))
                add(10 if not inside else 5, "acquire", lambda: self.acquire(depth))
            add(2, "scopes", lambda: self.scope(depth, inside))
            add(1, "shields", lambda: lang.Scope(self.block(depth=depth + 1, inside=inside), shield=True))
            add(2, "nurseries", lambda: self.nursery(depth, inside))
            add(1, "clean-up", lambda: lang.Finally(self.block(depth=depth + 1, inside=inside), self.time()))
            add(1, "swallowing", lambda: self.trying(depth, inside, ""))
            add(1, "translating", lambda: self.trying(depth, inside, self.error_kind()))
            if inside:
                add(4, "lending", lambda: lang.Lend(self.block(depth=depth + 1, inside=True), self.one_of(True, False)))
        if may_wait:
            add(2, "", self.wait)
        add(1, "cancelling", lambda: lang.Cancel(self.rng.randrange(3), self.one_of(True, False)))
        add(0.5, "cancelling", lambda: lang.CancelEnclosing(self.rng.randrange(2)))
        add(1, "staff", self.staff)
        add(0.5, "", lambda: lang.Ask())
        add(0.5, "on_dead", lambda: lang.Ask(self.one_of("pop", "requeue")))
        add(0.5, "settings", lambda: self.setting())
        add(0.3, "closing", lambda: lang.Ask(self.one_of("close", "close group")))
        add(0.3, "cancelled outside", lambda: lang.Ask(self.one_of("cancel", "cancel group", "cancel group")))
        if may_wait:
            add(0.5, "groups", lambda: lang.Ask("join group"))
        if not inside:
            add(0.5, "", lambda: lang.Ask("join"))
        return self.weighted(choices)

    def setting(self) -> Statement:
        kinds: tuple[Any, ...] = ("max_running", "max_running of group", "elastic", "rate", "retry", "on_failure")
        return lang.Ask(self.one_of(*kinds), self.one_of(1, 2, 3))

    def submit(self, depth: int) -> Statement:
        how: Any = self.one_of("submit", "submit", "submit", "nowait", "idle only")
        return lang.Submit(self.call(depth), how, self.rng.random() < 0.2)

    def run(self, depth: int) -> Statement:
        return lang.Run(self.call(depth), self.rng.random() < 0.2, self.has("loud", 0.4))

    def acquire(self, depth: int) -> Statement:
        changes: dict[str, Any] = {}
        if self.has("priorities", 0.6):
            changes["priority"] = self.one_of(-1, 0, 1)
        if self.has("pins", 0.3):
            changes["requires"] = self.one_of(("a",), ("b",))
        if self.has("pins", 0.2):
            changes["worker"] = self.rng.randrange(4)
        if self.has("units", 0.6):
            changes["uses"] = self.uses()
        call = Call(self.block(depth=depth + 1, inside=True), **changes)
        timeout = self.one_of(0.0, 0.5, 1.0, 3.0) if self.has("timeouts", 0.5) else None
        return lang.Acquire(call, timeout, self.rng.random() < 0.2, self.has("loud", 0.4))

    def wait(self) -> Statement:
        until: Any = self.one_of("end", "end", "end", "start")
        return lang.Wait(self.rng.randrange(3), self.rng.random() < 0.3, until, self.has("loud", 0.4))

    def graph(self, depth: int) -> Statement:
        number = self.one_of(2, 3, 4)
        calls = tuple(self.call(depth, simple=True) for _ in range(number))
        behind = tuple(
            tuple(sorted({self.rng.randrange(each) for _ in range(self.rng.randrange(3))})) if each else ()
            for each in range(number)
        )
        return lang.Graph(calls, behind, self.one_of(True, False), self.rng.random() < 0.2)

    def stream(self, depth: int, inside: bool) -> Statement:
        early = self.has("early leaving", 0.4)
        return lang.Stream(
            self.call(depth, in_stream=True),
            self.items(),
            kind=self.one_of("map", "as_completed"),
            buffer=self.one_of(None, None, 1, 2),
            reads=self.rng.randrange(3) if early else None,
            each=self.block(depth=depth + 2, inside=inside, least=0) if self.rng.random() < 0.4 else (),
            readers=2 if self.has("nurseries", 0.2) else 1,
            to_pool=self.rng.random() < 0.2,
            loud=self.has("loud", 0.4),
        )

    def items(self) -> Items:
        kinds: list[Any] = ["list", "generator"]
        if "async items" in self.features:
            kinds += ["async", "async", "class"]
        kind = self.rng.choice(kinds)
        number = self.one_of(0, 1, 2, 3, 3, 5, 8)
        changes: dict[str, Any] = {"number": number, "kind": kind}
        if kind != "list" and self.has("failing items", 0.5):
            changes["fails_at"] = self.rng.randrange(number + 1)
            changes["failure"] = self.error_kind()
        if kind in ("async", "class"):
            changes["delay"] = self.time()
            if self.has("clean-up", 0.5):
                changes["cleanup"] = self.time()
            if self.has("items in nurseries", 0.6):
                changes["around"] = "wait in nursery"
            if self.has("scoped items", 0.6):
                changes["around"] = self.one_of("scope", "each", "nursery")
                changes["deadline"] = self.time()
                if changes["around"] == "nursery" and changes.get("failure") in ODD:
                    changes["failure"] = "value"  # Trio itself prints what comes out of one
        return Items(**changes)

    def scope(self, depth: int, inside: bool) -> Statement:
        deadline = self.time() if self.rng.random() < 0.8 else None
        shield = self.has("shields", 0.3)
        return lang.Scope(self.block(depth=depth + 1, inside=inside), deadline, shield)

    def nursery(self, depth: int, inside: bool) -> Statement:
        number = self.one_of(1, 2, 2, 3)
        return lang.Nursery(tuple(self.block(depth=depth + 1, inside=inside) for _ in range(number)))

    def trying(self, depth: int, inside: bool, raises: str) -> Statement:
        catches: Any = self.one_of("errors", "cancellation", "all")
        return lang.Try(self.block(depth=depth + 1, inside=inside), catches, raises)

    def group(self, depth: int, inside: bool) -> Statement:
        return lang.Group(
            self.block(depth=depth + 1, inside=inside),
            must_succeed=self.has("must succeed", 0.6),
            max_running=self.one_of(1, 2) if self.has("max_running", 0.4) else None,
            reserve=self.one_of(1, 1, 2) if self.has("reserve", 0.5) else 0,
            loud=self.has("loud", 0.4),
        )

    def staff(self) -> Statement:
        kinds: list[Any] = [
            "pause",
            "rest",
            "pause pool",
            "rest pool",
            "remove",
            "remove now",
            "add",
            "reopen",
            "reset",
        ]
        if "dying lifespans" in self.features:
            kinds.append("break")
        if "places" in self.features:
            kinds += ["places", "places"]
        device = self.device(has_lifespan=True) if self.rng.random() < 0.5 else Device()
        what = self.rng.choice(kinds)
        worker = self.rng.randrange(4)
        places = self.places() if what == "places" else 1
        return lang.Workers(what, worker, self.time(), device if what == "add" else Device(), places)

    def call(self, depth: int, *, simple: bool = False, in_stream: bool = False) -> Call:
        changes: dict[str, Any] = {}
        if self.has("retries", 0.5):
            changes["retry"] = self.policy()
        if self.has("timeouts", 0.3):
            changes["attempt_timeout"] = self.one_of(0.0, 0.5, 1.0, 2.0)
        if self.has("timeouts", 0.3):
            changes["total_timeout"] = self.one_of(0.0, 0.5, 1.0, 3.0, 10.0)
        if self.has("priorities", 0.6):
            changes["priority"] = self.one_of(-1, 0, 1)
        if self.has("pins", 0.3):
            changes["requires"] = self.one_of(("a",), ("b",), ("a", "b"))
        if self.has("pins", 0.2):
            changes["worker"] = self.rng.randrange(4)
        if self.has("hedges", 0.5):
            changes["hedge"] = (self.one_of(0.0, 0.5, 1.0), self.one_of(1, 1, 2))
        if self.has("units", 0.6):
            changes["uses"] = self.uses()
        if self.has("keys", 0.8):
            changes["key"] = self.one_of("k", "k", "l", "m")
        if self.has("after", 0.5) and not simple and not in_stream:
            changes["after"] = tuple(self.rng.randrange(4) for _ in range(self.one_of(1, 1, 2)))
        return Call(self.block(depth=depth + 1, inside=True), **changes)
