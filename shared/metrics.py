"""The kernel's Prometheus metrics; units are in the names."""

from prometheus_client import Counter, Gauge, Histogram

RELAYED = Counter("hustings_outbox_relayed_total", "Outbox rows acknowledged by the broker.")
RELAY_ERRORS = Counter("hustings_outbox_relay_errors_total", "Producers thrown away after an error.", ["error"])
OUTBOX_OLDEST_SECONDS = Gauge("hustings_outbox_oldest_seconds", "Age of the oldest outbox row.")
OUTBOX_ROWS = Gauge("hustings_outbox_rows", "Outbox rows waiting, as estimated by the last look (at most 10,000).")
INBOX_EVENTS = Counter("hustings_inbox_events_total", "Records taken, by fate.", ["fate"])
INBOX_LAG = Gauge("hustings_inbox_lag_records", "Records behind the end of the partition.", ["topic", "partition"])
INBOX_REFUSED = Gauge("hustings_inbox_refused", "1 while this process refuses to read (foreign or reset cluster).")
HANDLER_SECONDS = Histogram("hustings_handler_seconds", "Time a handler took for its events.", ["event"])
PARKED = Gauge("hustings_parked", "Records parked for another try.")
DEAD = Gauge("hustings_dead", "Records and timers whose tries are used up; an operator redrives them.")
QUARANTINED = Gauge("hustings_quarantined", "Records that can never be handled as they are.")
TIMERS_SECONDS = Histogram("hustings_timers_seconds", "Time one look for due timers took.")
TASK_RESTARTS = Counter("hustings_task_restarts_total", "Background tasks restarted after an error.", ["task"])
REQUEST_SECONDS = Histogram("hustings_request_seconds", "Time to answer.", ["route", "status"])
