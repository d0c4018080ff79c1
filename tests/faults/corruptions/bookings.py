"""L6: time."""

from tests.faults.corruptions.making import Copy, corruption, fresh


@corruption("L6", "L11", why="an active call needs its offer, and its place in the queue")
def two_active_matches(copy: Copy) -> str:
    call, prospect = copy.one("matching", "SELECT call_id, prospect_id FROM bookings ORDER BY call_id LIMIT 1")
    columns = (
        "purpose, prospect_id, volunteer_id, week, hold_expires_at, offered_at, program_version, program_hash, "
        "calendar_uid"
    )
    copy.run(
        "matching",
        "DROP INDEX bookings_one_active_uq",
        *(
            f"INSERT INTO bookings (call_id, {columns}, state, during) SELECT '{fresh()}', {columns}, 'held', "
            f"tstzrange(upper(during) + interval '{weeks} weeks', upper(during) + interval '{weeks} weeks 30 minutes') "
            f"FROM bookings WHERE call_id = '{call}'"
            for weeks in (30, 31)
        ),
    )
    return str(prospect)


@corruption("L6")
def a_volunteer_in_two_calls_at_once(copy: Copy) -> str:
    volunteer = copy.one(
        "matching",
        "SELECT volunteer_id FROM bookings WHERE state = 'completed' GROUP BY volunteer_id HAVING count(*) > 1 LIMIT 1",
    )
    calls = copy.rows(
        "matching",
        f"SELECT call_id FROM bookings WHERE volunteer_id = '{volunteer}' AND state = 'completed' ORDER BY call_id",
    )
    copy.run(
        "matching",
        f"UPDATE bookings SET during = (SELECT during FROM bookings WHERE call_id = '{calls[1][0]}') "
        f"WHERE call_id = '{calls[0][0]}'",
    )
    return str(volunteer)


@corruption("L6")
def more_calls_counted_than_booked(copy: Copy) -> str:
    volunteer = copy.one("matching", "SELECT volunteer_id FROM volunteer_weeks ORDER BY 1 LIMIT 1")
    copy.run(
        "matching",
        "ALTER TABLE volunteer_weeks DROP CONSTRAINT volunteer_weeks_used_ck",
        f"UPDATE volunteer_weeks SET used = cap + 1 WHERE volunteer_id = '{volunteer}'",
    )
    return str(volunteer)


@corruption("L6")
def a_call_at_night(copy: Copy) -> str:
    call = copy.one("matching", "SELECT call_id FROM bookings WHERE state = 'completed' ORDER BY call_id LIMIT 1")
    copy.run(
        "matching",
        "UPDATE bookings SET during = tstzrange(lower(during) - interval '15 hours', "
        f"upper(during) - interval '15 hours') WHERE call_id = '{call}'",
    )
    return str(call)


@corruption("L6")
def an_overbooked_intro_call(copy: Copy) -> str:
    call = copy.one("matching", "SELECT intro_call_id FROM intro_calls WHERE going > 0 ORDER BY 1 LIMIT 1")
    copy.run(
        "matching",
        "ALTER TABLE intro_calls DROP CONSTRAINT intro_calls_going_ck, DROP CONSTRAINT intro_calls_capacity_ck",
        f"UPDATE intro_calls SET capacity = going - 1 WHERE intro_call_id = '{call}'",
    )
    return str(call)
