"""A crowd that uses the running system from outside while faults are injected, and writes down what it was told.

    python -m tests.faults.load --endpoints FILE --journals DIR --seed S --people N --walkers M
        [--rate R]          sign-ups offered per second (Poisson; default 50); 0 offers all at once
        [--mailbox URL]     where mails are read (the sinks' address); default: the stack's own mailbox
        [--inbound-token T] credential of /sms/inbound, or NOTIFICATIONS_SMS_INBOUND_TOKEN; without, nobody texts STOP
        [--webhook URL]     an administrator subscribes this address before the walk
        [--patience S]      how long one intent, and one step of a walker, is tried again (default 180)
        [--no-rest]         volunteers' hours stay as they are; default: they pause, so that a later run on the same
                            system is not matched with volunteers who are gone
        [--program FILE]    the stack's program (default HUSTINGS_PROGRAM, else programs/org_2025.toml)

Writes DIR/load.jsonl (docs/ledger.md) and DIR/summary.json. Exit 0: everything is settled. Exit 1: an intent stayed
unknown, an answer was wrong, or a walker got stuck; standard output names them. Exit 2: it could not begin.

Of the N people most sign up once; shares of them also agree to texts, use a known address again, send the HTML form,
send the same twice at once, make a mistake (422 is expected), confirm by the mailed link, unsubscribe, or text STOP.
The M walkers (with M/2 volunteers, at least 6, who are not counted in N) go on to the endorsement and, a few, its
rescission. The business clock moves while they walk: by several weeks, never back.

Importable: `await run(Settings(...)) -> Summary`; `Summary.ok`.

Answers: `ack` is 202, or the thank-you page of the form; `nack` is any other final refusal (4xx, not 429); everything
else (429, 5xx, a connection that failed or timed out) is `unknown` and sent again with the same intent.
"""

from tests.faults.load.run import Settings, Summary, run

__all__ = ["Settings", "Summary", "run"]
