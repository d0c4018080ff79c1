"""Where the product hands messages over while faults are injected: SMTP, text messages, webhooks, and a mailbox.

As a process, until SIGTERM (exit 0):

    python -m tests.faults.sinks --dir D --ports-file F [--smtp-port N] [--http-port N] [--plan PLAN.json]

D gets `smtp.jsonl`, `sms.jsonl`, `webhook.jsonl` (docs/ledger.md); started again with the same D it goes on in them.
F is written, whole, once everything listens:

    {"smtp": "127.0.0.1:4025", "sms": "http://127.0.0.1:4080/sms", "webhook": "http://127.0.0.1:4080/hooks/NAME",
     "control": "http://127.0.0.1:4080", "mailbox": "http://127.0.0.1:4080", "pid": 4711}

In process: `async with open_sinks(Path(D)) as sinks:`, then `sinks.smtp_port`, `sinks.url`, `sinks.addresses()`
(as in F), `sinks.plans.load(plan)`, `sinks.counters()`.

The stack that hands over to them is started with NOTIFICATIONS_SMTP_HOST, NOTIFICATIONS_SMTP_PORT and
NOTIFICATIONS_SMS_URL (`environment(addresses)` gives these), and ENDORSEMENT_WEBHOOK_ALLOW_PRIVATE=true for webhooks.

At the control address:

    POST /plan          replaces the plan, and starts its counts and time windows anew
    GET  /plan          the plan, with `seen` and `used` of each rule
    DELETE /plan        everything is accepted again; with it, as with a new plan, whoever hangs is cut off
    GET  /counters      {"smtp": {"250": 12, "none": 1}, "sms": {…}, "webhook": {…}, "stored": 12, "hanging": 1}
    GET  /api/messages?to=&after=&limit=     what was stored, as the local mailbox tells it (`html` is always "")
    GET  /sms?client_reference=              200 {"id": …} when stored, else 404 (the provider's look-up)
    GET  /readyz

A plan is `{"seed": 7, "rules": [...]}`. The first rule that matches and is not used up decides; what no rule takes
is accepted. See `plan.Rule` for every field:

    {"name": "slow", "sink": "smtp", "stage": "data", "to": "@m4f2a", "after": 10, "every": 3, "times": 5,
     "probability": 0.2, "from_seconds": 0, "until_seconds": 60, "act": "hang"}

`act`: `answer` (with `code`, and for HTTP `retry_after_seconds`, `location`), `hang` (never answers, until the other
side goes or the plan is deleted), `late` (`delay_seconds`, then as if nothing had been), `close` (the connection is
reset). `stage` of SMTP: `connect`, `mail`, `rcpt`, `body` (after 354, before the whole body), `data` (the whole body
is there); `sms`: `send`, `lookup`; `webhook`: `send`.
Draws depend on the seed, the rule's name, the recipient and how often the recipient was seen, not on arrival order.
"""

from tests.faults.sinks.plan import Plan, Plans, Rule
from tests.faults.sinks.serving import Sinks, environment, open_sinks

__all__ = ["Plan", "Plans", "Rule", "Sinks", "environment", "open_sinks"]
