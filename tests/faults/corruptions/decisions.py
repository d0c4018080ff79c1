"""L9: decisions and endorsements."""

from tests.faults.corruptions.making import Copy, corruption, fresh, with_header

STANDING = "SELECT id FROM endorsements WHERE status = 'endorsed' ORDER BY id LIMIT 1"


@corruption("L9", "L12", why="nobody is on record for the second decision")
def two_decisions_on_one_application(copy: Copy) -> str:
    columns = (
        "application_id, candidacy_id, person_id, outcome, reason, note, decided_by, decided_at, embargo_until, "
        "reapply_from, scorecards, legal_body, program_version, program_hash"
    )
    application = copy.one("endorsement", "SELECT application_id FROM decisions ORDER BY id LIMIT 1")
    copy.run(
        "endorsement",
        "ALTER TABLE decisions DROP CONSTRAINT decisions_application_id_uq",
        f"INSERT INTO decisions (id, {columns}) SELECT '{fresh()}', {columns} FROM decisions "
        f"WHERE application_id = '{application}'",
    )
    return str(application)


@corruption("L9")
def announced_before_the_embargo(copy: Copy) -> str:
    endorsement = copy.one("endorsement", STANDING)
    copy.run(
        "endorsement",
        "ALTER TABLE decisions DISABLE TRIGGER USER",
        "UPDATE decisions SET embargo_until = embargo_until + interval '30 days' "
        f"WHERE id = (SELECT decision_id FROM endorsements WHERE id = '{endorsement}')",
    )
    return str(endorsement)


@corruption("L9")
def announced_by_who_decided(copy: Copy) -> str:
    endorsement = copy.one("endorsement", STANDING)
    copy.run(
        "endorsement",
        "UPDATE endorsements SET announced_by = (SELECT decided_by FROM decisions WHERE decisions.id = decision_id) "
        f"WHERE id = '{endorsement}'",
    )
    return str(endorsement)


@corruption("L9", "L10", why="the second announcement has no delivery")
def one_endorsement_announced_under_two_ids(copy: Copy) -> str:
    """Behind the last record of its partition: nothing that consumes the public topic could lag."""
    published = [line for line in copy.records() if line["topic"] == "endorsement.endorsements" and "offset" in line]
    keys = [line["key"] for line in published]
    model = next(line for line in published if keys.count(line["key"]) == 1)
    line = with_header(with_header(model, "ce_id", fresh()), "ce_sequence", "2".zfill(20))
    copy.append_properly({**line, "offset": max(other["offset"] for other in published) + 10}, "endorsement")
    return str(model["key"])


@corruption("L9", "L10", why="the delivery is missing")
def a_rescission_that_did_not_reach_a_subscriber(copy: Copy) -> str:
    endorsement = copy.one(
        "endorsement",
        "SELECT endorsement_id FROM webhook_deliveries WHERE event_type = 'endorsement.endorsement_rescinded.v1'",
    )
    copy.run(
        "endorsement",
        "DELETE FROM webhook_attempts WHERE delivery_id IN (SELECT id FROM webhook_deliveries WHERE event_type = "
        f"'endorsement.endorsement_rescinded.v1' AND endorsement_id = '{endorsement}')",
        "DELETE FROM webhook_deliveries WHERE event_type = 'endorsement.endorsement_rescinded.v1' "
        f"AND endorsement_id = '{endorsement}'",
    )
    return str(endorsement)


@corruption("L9")
def a_gap_in_the_feed(copy: Copy) -> str:
    last = copy.one("endorsement", "SELECT max(cursor) FROM feed_entries")
    copy.run(
        "endorsement",
        f"UPDATE feed_entries SET cursor = cursor + 1 WHERE cursor = {last}",
        "UPDATE feed_counter SET last_cursor = last_cursor + 1",
    )
    return f"feed {last + 1}"
