"""The service's Prometheus metrics; units are in the names."""

from prometheus_client import Counter, Gauge, Histogram

QUEUED = Gauge("hustings_messages_queued", "Messages waiting, by class (at most 10,000).", ["delivery"])
OLDEST_SECONDS = Gauge("hustings_messages_oldest_due_seconds", "How long the longest due one waits.", ["delivery"])
UNKNOWN = Gauge("hustings_messages_unknown", "Messages whose hand-over ended unknown (at most 10,000).", ["delivery"])
BULK_PAUSED = Gauge("hustings_messages_bulk_paused", "1 while bulk mail pauses itself over bounces or complaints.")
DEMOTED = Gauge("hustings_provider_demoted", "1 while a provider is slow or failing.", ["lane", "provider"])
HAND_OVER_SECONDS = Histogram("hustings_hand_over_seconds", "Time a provider took for one message.", ["lane"])
HAND_OVERS = Counter("hustings_hand_overs_total", "Hand-overs by what came of them.", ["lane", "outcome"])
