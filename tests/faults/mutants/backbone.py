"""The kernel broken: outbox, relay, inbox, timers, and how a unit of work commits."""

from tests.faults.mutants.mutant import Edit, Mutant, Rows, Suite

RELAY, INBOX, OUTBOX, WORK, TIMERS = (f"shared/{name}.py" for name in ("relay", "inbox", "outbox", "work", "timers"))
KERNEL = "tests/component/kernel"
FIRING = f"{KERNEL}/test_timers.py::test"

MUTANTS = (
    Mutant(
        "outbox_in_a_second_transaction",
        "A change without its events",
        "Events are appended in a transaction of their own, after the change has committed.",
        (
            Edit(
                WORK,
                "            yield work\n            await work.flush()\n",
                "            yield work\n"
                "        async with self.pool.acquire() as connection, connection.transaction():\n"
                "            work.connection = connection\n"
                "            await work.flush()\n",
            ),
        ),
        (Suite((f"{KERNEL}/test_outbox.py::test_change_whose_events_are_refused_is_undone",), "assert"),),
    ),
    Mutant(
        "sequence_without_the_lock",
        "Two events of one key with one version",
        "The next `ce_sequence` is read before the stream's row is locked.",
        (
            Edit(
                OUTBOX,
                "        SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])\n"
                "        ON CONFLICT (topic, key) DO UPDATE SET version = streams.version + excluded.version\n",
                "        SELECT row.topic, row.key, row.count + coalesce((SELECT version FROM streams seen\n"
                "               WHERE seen.topic = row.topic AND seen.key = row.key), 0)\n"
                "        FROM unnest($1::text[], $2::text[], $3::bigint[]) AS row (topic, key, count)\n"
                "        ON CONFLICT (topic, key) DO UPDATE SET version = excluded.version\n",
            ),
        ),
        (Suite((f"{KERNEL}/test_outbox.py::test_opposite_orders_of_keys_do_not_deadlock",), "320"),),
    ),
    Mutant(
        "relay_by_cursor",
        "An acknowledged sign-up is lost on the way",
        "The relay remembers the last id it sent and reads on from there; rows of a transaction that commits later"
        " with lower ids stay behind.",
        (
            Edit(
                RELAY,
                "        self._held: dict[str, float] = {}\n",
                "        self._held: dict[str, float] = {}\n        self._cursor: dict[int, int] = {}\n",
            ),
            Edit(
                RELAY,
                "        if not rows:\n            return 0\n",
                '        rows = [row for row in rows if row["id"] > self._cursor.get(row["shard"], 0)]\n'
                "        if not rows:\n            return 0\n",
            ),
            Edit(
                RELAY,
                "            await self._delete(group, epoch, sent)\n",
                "            await self._delete(group, epoch, sent)\n"
                '        self._cursor |= {row["shard"]: row["id"] for row in rows}\n',
            ),
        ),
        (Suite((f"{KERNEL}/test_relay.py::test_row_that_commits_late_is_relayed",), "an empty outbox"),),
    ),
    Mutant(
        "relay_deletes_first",
        "An acknowledged sign-up is lost on the way",
        "The relay deletes rows before the broker has acknowledged them.",
        (
            Edit(
                RELAY,
                "        sent = await self._send(producer, rows)\n"
                "        if sent:\n            await self._delete(group, epoch, sent)\n",
                "        await self._delete(group, epoch, rows)\n        await self._send(producer, rows)\n",
            ),
        ),
        (
            Suite((f"{KERNEL}/test_relay.py::test_crash_between_send_and_delete_repeats_the_same_ids",), "assert"),
            Rows(("kill.relay.before_send",), "L3"),
        ),
    ),
    Mutant(
        "relay_without_a_fence",
        "An old state published over a newer one",
        "Every relay has a transactional id of its own, so the broker does not refuse the one that was given up.",
        (
            Edit(
                RELAY,
                'transactional_id=f"hustings.{self._service}.relay.{group}"',
                'transactional_id=f"hustings.{self._service}.relay.{group}.{epoch}"',
            ),
        ),
        (Suite((f"{KERNEL}/test_relay.py::test_relay_that_was_taken_over_is_fenced",), "ProducerFenced|error"),),
    ),
    Mutant(
        "relay_without_a_lease",
        "Two relays send one group's rows",
        "A relay claims groups whose lease is still running.",
        (
            Edit(
                RELAY,
                "WHERE grp IN (SELECT grp FROM outbox_groups WHERE lease_until < clock_timestamp()",
                "WHERE grp IN (SELECT grp FROM outbox_groups WHERE lease_until < 'infinity'",
            ),
        ),
        (Suite((f"{KERNEL}/test_relay.py::test_group_under_a_lease_is_not_claimed",), "assert"),),
    ),
    Mutant(
        "relay_deletes_without_its_epoch",
        "A relay that was given up deletes rows that its successor has not sent",
        "Deleting does not look whether the group is still the relay's.",
        (
            Edit(
                RELAY,
                "FROM outbox_groups WHERE grp = $1 AND epoch = $2 FOR SHARE)",
                "FROM outbox_groups WHERE grp = $1 AND epoch >= $2 FOR SHARE)",
            ),
        ),
        (Suite((f"{KERNEL}/test_relay.py::test_relay_stops_for_a_lost_lease_without_deleting",), "DID NOT RAISE"),),
    ),
    Mutant(
        "no_inbox",
        "An event has its effect twice",
        "Whatever comes is handled, also when its id has been seen.",
        (Edit(INBOX, '        fresh = {row["event_id"] for row in rows}\n', "        fresh = set(ids)\n"),),
        (Suite((f"{KERNEL}/test_inbox.py::test_producers_repeat_at_new_offsets_meets_its_twin",), "assert"),),
    ),
    Mutant(
        "acknowledged_before_the_effect",
        "An event has no effect",
        "Offsets are advanced in a transaction of their own before the handlers run.",
        (
            Edit(
                INBOX,
                "        async with self._workshop.begin() as work:\n"
                "            connection = work.connection\n"
                "            fresh = await self._above_offsets(connection, decoded, cluster_id)\n",
                "        async with self._workshop.begin() as work:\n"
                "            fresh = await self._above_offsets(work.connection, decoded, cluster_id)\n"
                "            await self._advance(work.connection, fresh)\n"
                "        async with self._workshop.begin() as work:\n"
                "            connection = work.connection\n",
            ),
        ),
        (
            Suite((f"{KERNEL}/test_inbox.py::test_infrastructure_fault_rolls_back_everything",), "assert"),
            Rows(("kill.consumer.in_transaction",), "L5"),
        ),
    ),
    Mutant(
        "effect_before_the_inbox",
        "An event has its effect twice",
        "Handlers run in a transaction of their own, which commits before the event ids and the offsets.",
        (
            Edit(
                INBOX,
                "                await self._handle(work, [received for _, received in work_list])\n",
                "                async with self._workshop.begin() as effect:\n"
                "                    await self._handle(effect, [received for _, received in work_list])\n",
            ),
        ),
        (Suite((f"{KERNEL}/test_inbox.py::test_offsets_that_can_not_be_written_undo_the_effect",), "assert"),),
    ),
    Mutant(
        "poison_for_ever",
        "One record stops a partition",
        "A record that can't be decoded fails its batch, every time it comes.",
        (
            Edit(
                INBOX,
                "    except Unprocessable as poison:\n        return poison\n",
                "    except Unprocessable:\n        raise\n",
            ),
        ),
        (Suite((f"{KERNEL}/test_inbox.py::test_broken_headers_hold_nobody_up",), "Unprocessable"),),
    ),
    Mutant(
        "parked_key_is_overtaken",
        "Events of one key take effect out of order",
        "Later events of a key are handled while an earlier one is parked.",
        (
            Edit(
                INBOX,
                "        if not waiting:\n            return routed\n",
                "        if waiting is not None:\n            return routed\n",
            ),
        ),
        (Suite((f"{KERNEL}/test_inbox.py::test_failing_record_parks_its_key_and_the_others_flow",), "assert"),),
    ),
    Mutant(
        "redelivery_brings_back_the_erased",
        "Personal data after its erasure receipt",
        "Events that speak of erased people are handled.",
        (
            Edit(
                INBOX,
                "        gone = await people.erased(connection, (p for r in once.values() for p in"
                " r[1].event.person_ids))\n",
                "        gone: frozenset[object] = frozenset()\n",
            ),
        ),
        (Suite((f"{KERNEL}/test_inbox.py::test_erased_persons_events_are_forgotten",), "assert"),),
    ),
    Mutant(
        "timer_taken_but_not_fired",
        "What was to happen at a time never happens",
        "Due timers are deleted by a plain subquery with LIMIT and SKIP LOCKED, which may run once for each row.",
        (
            Edit(
                TIMERS,
                "    WITH due AS MATERIALIZED (\n"
                "        SELECT id FROM timers WHERE NOT dead AND due_at <= $1\n"
                "        ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)\n"
                "    DELETE FROM timers USING due WHERE timers.id = due.id\n",
                "    DELETE FROM timers WHERE id IN (\n"
                "        SELECT id FROM timers WHERE NOT dead AND due_at <= $1\n"
                "        ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)\n",
            ),
        ),
        (Suite((f"{FIRING}_every_due_timer_acts_whatever_plan_the_database_chooses",), "assert"),),
    ),
    Mutant(
        "timer_gone_before_it_acts",
        "What was to happen at a time never happens",
        "A timer is deleted in one transaction and acts in the next.",
        (
            Edit(
                TIMERS,
                "                return fired\n            await _fire(work, actions, row)\n",
                "                return fired\n"
                "        async with workshop.begin() as work:\n"
                "            await _fire(work, actions, row)\n",
            ),
        ),
        (
            Suite(
                (f"{FIRING}_infrastructure_fault_leaves_the_timer_as_it_was_and_keeps_what_fired_before",),
                "assert",
            ),
        ),
    ),
)
