"""Runs one fault of deliveries: sends messages, kills, heals, waits for everything, and checks."""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.fault_lab.deliveries.clients import COURSE, Sender, StreamReader, messages_of
from tests.fault_lab.deliveries.delivery_run import FAILING, HEALTHY, DeliveryRun, Scale
from tests.fault_lab.deliveries.plans import Plan, receiver_script
from tests.fault_lab.report_table import Row
from tests.fault_lab.stack.stack import Stack
from tests.support.service_processes import client, open_course
from tests.support.webhook_receiver import WebhookReceiver

MODES = [{"slug": slug, "name": slug} for slug in ("audit", "verified")]
#: Seconds between two looks at what has arrived: each takes time from the receivers.
LOOK_SECONDS = 0.5
#: The types of messages that are changes of the feed.
TYPES = [
    f"enrollment.{kind}"
    for kind in ("created", "reactivated", "mode_changed", "deactivated", "updated")
]


def run_deliveries(plan: Plan, stack: Stack, folder: Path, seed: int, scale: Scale) -> Row:
    """Runs a fault on a service of its own, whose Redis keeps its data when it is killed."""
    with ExitStack() as exits:
        this = _start(plan, stack, seed, scale, exits)
        this.send_and_kill()
        healed = time.monotonic()
        this.heal()
        doubts = []
        while not this.is_complete():
            if time.monotonic() - healed > scale.patience:
                doubts.append(f"not everything has arrived {scale.patience:.0f} s after healing")
                break
            time.sleep(LOOK_SECONDS)
        recovery = time.monotonic() - healed
        faults = list(this.faults())
    witnesses = this.witnesses()
    (folder / "witnesses.txt").write_text(f"{witnesses}\n")
    doubts += _doubts(plan, witnesses)
    return Row(
        fault=plan.code,
        title=plan.title,
        database=stack.database.sort,
        seed=seed,
        injections=len(this.killed),
        witnessed=sum(witnesses.values()),
        accepted=sum(len(message.requests) for message in this.messages),
        recovery=recovery,
        violations=faults,
        result="violations" if faults else "unknown" if doubts else "ok",
        doubts=doubts,
    )


def _start(plan: Plan, stack: Stack, seed: int, scale: Scale, exits: ExitStack) -> DeliveryRun:
    this = DeliveryRun(
        plan=plan,
        scale=scale,
        stack=stack,
        random=random.Random(f"{plan.code} {seed}"),
        messages=messages_of(scale.requests),
        sender=Sender(stack.redis.url, stack.key),
        reader=exits.enter_context(StreamReader(stack.redis.url)),
    )
    stack.apply_overrides(this.overrides(armed=False))
    stack.until_ready()
    failures = {HEALTHY: 0, **({FAILING: scale.failures} if plan.has_failing_receiver else {})}
    with client(stack.urls[0], stack.key) as http:
        course = open_course(COURSE, course_modes=MODES)
        http.put(f"/courses/{COURSE}", json=course).raise_for_status()
        for name, number in failures.items():
            script = receiver_script(number, scale.requests)
            receiver = exits.enter_context(WebhookReceiver(*script))
            this.webhooks[name] = receiver
            this.secrets[name] = _register(http, receiver.url)
    stack.apply_overrides(this.overrides(armed=True))
    return this


def _doubts(plan: Plan, witnesses: Mapping[str, int]) -> Iterator[str]:
    """Yields the faults that left no trace; of the fail points one must have been reached."""
    if plan.points and not any(witnesses[point] for point in plan.points):
        yield "nothing shows that beat died at a fail point"
    for name, times in witnesses.items():
        if not times and name not in plan.points:
            yield f"nothing shows that {name} took effect"


def _register(http: httpx.Client, url: str) -> str:
    """Registers an endpoint for all changes; returns its secret."""
    answer = http.post("/webhooks", json={"url": url, "types": TYPES})
    answer.raise_for_status()
    secret: str = answer.json()["secret"]
    return secret
