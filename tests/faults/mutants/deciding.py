"""Matching, endorsing, announcing and the audit log broken."""

from tests.faults.mutants.mutant import Edit, Mutant, Rows, Suite

BOOKINGS_SCHEMA = "services/matching/migrations/0101_pre_matching.sql"
ROUNDS = "services/matching/actions/rounds.py"
DECIDING, PUBLISHING = (f"services/endorsement/actions/{name}.py" for name in ("deciding", "publishing"))
PUBLICATION, AUDIT = (f"services/endorsement/store/{name}.py" for name in ("publication", "audit"))
MATCHING, ENDORSEMENT = "tests/component/matching", "tests/component/endorsement"

MUTANTS = (
    Mutant(
        "slot_without_a_constraint",
        "A volunteer is booked twice for overlapping time",
        "The database lets a volunteer's times overlap.",
        (
            Edit(
                BOOKINGS_SCHEMA,
                "    CONSTRAINT bookings_volunteer_time_ex EXCLUDE USING gist (volunteer_id WITH =, during WITH &&)\n"
                "        WHERE (state IN ('held', 'confirmed')),\n",
                "",
            ),
        ),
        (
            Suite(
                (f"{MATCHING}/test_rounds.py::test_constraint_alone_refuses_what_sixteen_racing_writers_try",),
                "assert",
            ),
        ),
    ),
    Mutant(
        "two_active_matches",
        "A prospect has two active matches for one purpose",
        "The database lets a prospect have several.",
        (
            Edit(
                BOOKINGS_SCHEMA,
                "CREATE UNIQUE INDEX bookings_one_active_uq ON bookings",
                "CREATE INDEX bookings_one_active_uq ON bookings",
            ),
        ),
        (Suite((f"{MATCHING}/test_rounds.py::test_prospect_has_one_active_match_whoever_writes",), "assert"),),
    ),
    Mutant(
        "capacity_not_counted",
        "A volunteer is booked over their capacity",
        "A round does not add the calls it holds to the volunteers' weeks.",
        (
            Edit(
                ROUNDS,
                "    await bookings.add_used(work.connection, Counter((hold.volunteer_id, hold.week)"
                " for hold in held))\n",
                "",
            ),
        ),
        (
            Suite((f"{MATCHING}/test_rounds.py::test_cap_holds_over_many_rounds",), "assert"),
            Rows(("kill.intake.after_commit",), "L6"),
        ),
    ),
    Mutant(
        "superseded_leader_commits",
        "Two leaders give away the same hours",
        "A round is committed although another leader has taken over.",
        (
            Edit(
                ROUNDS,
                "    if await work.connection.fetchval(rounds.CHECK_EPOCH) != epoch:\n",
                "    if await work.connection.fetchval(rounds.CHECK_EPOCH) < epoch:\n",
            ),
        ),
        (
            Suite(
                (f"{MATCHING}/test_rounds.py::test_second_leader_waits_and_superseded_one_writes_nothing",),
                "DID NOT RAISE",
            ),
        ),
    ),
    Mutant(
        "two_decisions",
        "A decision is published twice with different ids",
        "Deciding does not lock the candidacy, and the database takes two decisions on one application.",
        (
            Edit(
                DECIDING,
                "    dossier = await load_dossier(work, application_id, actor, lock=True)\n"
                "    must_be_in_review(dossier.application)\n"
                "    recusal = ",
                "    dossier = await load_dossier(work, application_id, actor)\n"
                "    must_be_in_review(dossier.application)\n"
                "    recusal = ",
            ),
            Edit(
                "services/endorsement/migrations/0101_pre_endorsement.sql",
                "REFERENCES applications CONSTRAINT decisions_application_id_uq UNIQUE,",
                "REFERENCES applications,",
            ),
        ),
        (Suite((f"{ENDORSEMENT}/test_review.py::test_deciders_in_a_race_make_one_decision",), "assert"),),
    ),
    Mutant(
        "endorsed_at_the_decision",
        "An endorsement is published before its embargo",
        "`Endorsed` is appended when it is decided, not when it is announced.",
        (
            Edit(
                DECIDING,
                "        await timers.schedule(work, ANNOUNCE, str(decision.id), until)\n"
                "        work.emit(\n"
                "            EndorsementDecided(\n",
                "        await timers.schedule(work, ANNOUNCE, str(decision.id), until)\n"
                "        await _publish_endorsement(work, decision, actor.person_id)\n"
                "        work.emit(\n"
                "            EndorsementDecided(\n",
            ),
        ),
        (
            Suite((f"{ENDORSEMENT}/test_path.py::test_announcement_before_the_embargo_is_refused",), "assert"),
            Rows(("kill.intake.after_commit",), "L9"),
        ),
    ),
    Mutant(
        "embargo_by_the_wall_clock",
        "An embargo is judged by another clock than everything else",
        "Announcing compares the embargo with the wall clock.",
        (
            Edit(
                DECIDING,
                "    await _check_announcer(work, actor, decision, at=work.now)\n",
                "    await _check_announcer(work, actor, decision, at=datetime.now(work.now.tzinfo))\n",
            ),
        ),
        (
            Suite(
                (f"{ENDORSEMENT}/test_path.py::test_path_from_candidacy_to_announcement_emits_each_event_once",),
                "embargo",
            ),
        ),
    ),
    Mutant(
        "rescission_reaches_nobody",
        "A rescission does not reach those who saw the endorsement",
        "Webhook subscribers are told of endorsements only.",
        (
            Edit(
                PUBLISHING,
                "    await store.insert_deliveries(",
                "    if isinstance(event, Endorsed):\n        await store.insert_deliveries(",
            ),
        ),
        (
            Suite(
                (f"{ENDORSEMENT}/test_webhooks.py::test_announcement_and_rescission_arrive_signed_and_in_order",),
                "assert",
            ),
        ),
    ),
    Mutant(
        "rescission_skips_the_disabled",
        "A rescission does not reach those who saw the endorsement",
        "A subscriber who is disabled when something is published has no delivery of it.",
        (
            Edit(
                PUBLICATION,
                "    FROM webhook_subscribers s\n    ORDER BY s.id FOR SHARE OF s\n",
                "    FROM webhook_subscribers s\n    WHERE s.status = 'active'\n    ORDER BY s.id FOR SHARE OF s\n",
            ),
        ),
        (
            Suite(
                (f"{ENDORSEMENT}/test_webhooks.py::test_gone_disables_and_enabling_brings_back_what_was_missed",),
                "assert",
            ),
        ),
    ),
    Mutant(
        "webhook_delivered_before_it_was_taken",
        "A subscriber misses an endorsement or its rescission",
        "A delivery is marked as delivered before the receiver has answered.",
        (
            Edit(
                "services/endorsement/delivery/loop.py",
                "        outcome = await self._sender.send(claim)\n",
                "        async with self._workshop.begin() as work:\n"
                "            await store.mark_delivered(work.connection, claim.delivery_id, work.now)\n"
                "        outcome = await self._sender.send(claim)\n",
            ),
        ),
        (
            Suite(
                (f"{ENDORSEMENT}/test_webhooks.py::test_failing_receiver_gets_the_same_id_again_until_it_is_given_up",),
                "assert",
            ),
            Rows(("webhook_hangs",), "L10"),
        ),
    ),
    Mutant(
        "webhook_id_of_each_try",
        "A subscriber takes one event for several",
        "Every try of a delivery has a webhook id of its own.",
        (
            Edit(
                "services/endorsement/delivery/sender.py",
                "**signed_headers(self.secrets(claim), claim.webhook_id, claim.body,",
                '**signed_headers(self.secrets(claim), f"{claim.webhook_id}.{claim.attempts}", claim.body,',
            ),
        ),
        (
            Suite(
                (f"{ENDORSEMENT}/test_webhooks.py::test_failing_receiver_gets_the_same_id_again_until_it_is_given_up",),
                "assert",
            ),
        ),
    ),
    Mutant(
        "audit_without_the_chain",
        "The audit log can be rewritten",
        "An entry's hash does not take in the entry before it.",
        (
            Edit(
                AUDIT,
                "    digest = entry_hash(previous, now, person_id,",
                '    digest = entry_hash("0" * 64, now, person_id,',
            ),
        ),
        (
            Suite((f"{ENDORSEMENT}/test_review.py::test_every_privileged_act_is_in_a_whole_audit_chain",), "assert"),
            Rows(("kill.intake.after_commit",), "L12"),
        ),
    ),
    Mutant(
        "act_without_an_audit_row",
        "A privileged act that nobody can see",
        "Announcing leaves no entry in the audit log.",
        (
            Edit(
                DECIDING,
                '    await record(work, actor, "announced", decision.application_id,'
                " endorsement=str(endorsement.id))\n",
                "",
            ),
        ),
        (Suite((f"{ENDORSEMENT}/test_path.py::test_announcement_is_in_the_audit_log",), "assert"),),
    ),
)
