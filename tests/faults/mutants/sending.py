"""Signing up, mailed links and messages broken."""

from tests.faults.mutants.mutant import Edit, Mutant, Rows, Suite

INTAKE, LINKS = "services/signup/intake.py", "services/signup/web/link_pages.py"
SENDER, RULES = "services/notifications/sending/sender.py", "services/notifications/domain/sending.py"
MESSAGES = "services/notifications/store/messages.py"
SIGNUP, NOTIFICATIONS = "tests/component/signup", "tests/component/notifications"
HAND_OVER, TEXTS = f"{NOTIFICATIONS}/test_hand_over.py", f"{NOTIFICATIONS}/test_sending_texts.py"

MUTANTS = (
    Mutant(
        "answered_before_the_commit",
        "An acknowledged sign-up is missing",
        "The intake answers as soon as its rows are written, and commits afterwards.",
        (
            Edit(
                INTAKE,
                "            return await store_batch(\n"
                "                work, [(waiting.submission, waiting.correlation_id) for waiting in batch],"
                " secret=self._secret\n"
                "            )\n",
                "            outcomes = await store_batch(\n"
                "                work, [(waiting.submission, waiting.correlation_id) for waiting in batch],"
                " secret=self._secret\n"
                "            )\n"
                "            for waiting, outcome in zip(batch, outcomes, strict=True):\n"
                "                _settle(waiting, outcome)\n"
                "            return outcomes\n",
            ),
        ),
        (Suite((f"{SIGNUP}/test_intake.py::test_signup_whose_commit_fails_is_not_acknowledged",), "assert"),),
    ),
    Mutant(
        "answered_before_the_disk",
        "An acknowledged sign-up is missing",
        "The intake's commits do not wait for the disk.",
        (
            Edit(
                INTAKE,
                "            return await store_batch(\n",
                '            await work.connection.execute("SET LOCAL synchronous_commit = off")\n'
                "            return await store_batch(\n",
            ),
        ),
        (Suite((f"{SIGNUP}/test_intake.py::test_signup_is_on_disk_before_it_is_answered",), "assert"),),
    ),
    Mutant(
        "intent_not_claimed",
        "One sign-up is stored twice",
        "A repeat of an intent takes the key over instead of getting the first answer.",
        (
            Edit(
                "services/signup/store/intake.py",
                "ORDER BY intent_id ON CONFLICT (intent_id) DO NOTHING\n",
                "ORDER BY intent_id ON CONFLICT (intent_id) DO UPDATE SET signup_id = excluded.signup_id\n",
            ),
        ),
        (Suite((f"{SIGNUP}/test_intake.py::test_intent_sent_twenty_times_at_once_adds_one",), "assert"),),
    ),
    Mutant(
        "getting_a_link_uses_it_up",
        "A mail scanner takes a person's link",
        "Opening a confirmation page consumes its link.",
        (
            Edit(
                LINKS,
                "            await links.peek(work, purpose, token)\n",
                "            await links.take(work, purpose, token)\n",
            ),
        ),
        (Suite((f"{SIGNUP}/test_confirm.py::test_getting_a_link_uses_nothing_up",), "assert"),),
    ),
    Mutant(
        "address_on_an_event",
        "Personal data on a topic",
        "`SignedUp` carries the e-mail address.",
        (
            Edit(
                "shared/events/signup.py",
                "    known: bool\n",
                "    known: bool\n    email: str | None = None\n",
            ),
            Edit(
                INTAKE,
                "        known=row.known,\n        legal_body=",
                "        known=row.known,\n        email=sent.email.typed,\n        legal_body=",
            ),
        ),
        (Suite(("tests/contract/test_events.py::test_internal_events_carry_no_free_text",), r"SignedUp\.email"),),
    ),
    Mutant(
        "address_in_a_log",
        "Personal data in a log",
        "The intake logs whom it took, by address.",
        (
            Edit(
                INTAKE,
                "    if new:\n        await _write(work, new, secret)\n",
                "    if new:\n        await _write(work, new, secret)\n"
                '        log.info("signups_stored", emails=[sent.email.typed for sent, _c, _s in new])\n',
            ),
        ),
        (
            Suite((f"{SIGNUP}/test_intake.py::test_log_of_a_signup_holds_ids_only",), "ana@example.org"),
            Rows(("kill.intake.after_commit",), "L14"),
        ),
    ),
    Mutant(
        "handed_over_before_handing",
        "A message twice",
        "A message goes to the provider while it is only claimed; `handing` is written afterwards.",
        (
            Edit(
                SENDER,
                "            if cleared:\n                await self._mark_handing(work, cleared)\n"
                "            if unsent:",
                "            if unsent:",
            ),
            Edit(
                SENDER,
                "        await self._settle_at_last(answered)\n",
                "        async with self._workshop.begin() as work:\n"
                "            await self._mark_handing(work, cleared)\n"
                "        await self._settle_at_last(answered)\n",
            ),
        ),
        (Suite((f"{HAND_OVER}::test_crash_after_handing_is_unknown_and_goes_by_class",), "handing"),),
    ),
    Mutant(
        "claim_not_looked_at_again",
        "A message twice",
        "A sender hands over what it once claimed, without looking whether it still is its own.",
        (
            Edit(
                SENDER,
                "ours = await messages.lock_claimed(connection, [r.message.id for r in ready], self._name)",
                "ours = {r.message.id for r in ready}",
            ),
        ),
        (Suite((f"{HAND_OVER}::test_sender_whose_lease_ran_out_hands_nothing_over",), "assert"),),
    ),
    Mutant(
        "unknown_is_sent_again",
        "A text or bulk mail twice",
        "What is unknown is sent again whatever its class.",
        (
            Edit(
                RULES,
                '    if delivery == "bulk" or hands > 1:\n',
                "    if hands > 1:\n",
            ),
            Edit(
                MESSAGES,
                "WHERE state = 'unknown' AND due_at <= business_now() AND channel = 'email'\n"
                "                   AND delivery <> 'bulk' AND hands = 1\n",
                "WHERE state = 'unknown' AND due_at <= business_now()\n",
            ),
        ),
        (Suite((f"{HAND_OVER}::test_answer_that_never_comes_is_unknown_and_resent_by_class",), "assert"),),
    ),
    Mutant(
        "error_counts_as_not_taken",
        "A text twice",
        "After a 5xx of the text provider a text is tried again, as if it could not have been taken.",
        (
            Edit(
                "services/notifications/sending/sms.py",
                'return Answer("unknown", f"http_{answer.status_code}", provider_failed=True)',
                'return Answer("temporary", f"http_{answer.status_code}", provider_failed=True)',
            ),
        ),
        (
            Suite((f"{TEXTS}::test_unknown_text_is_looked_up_and_never_sent_twice",), "http_500"),
            # A brief one is over with the first text, which may be the answer to a STOP.
            Rows(("sms_fails",), "L7", brief=False),
        ),
    ),
    Mutant(
        "suppression_not_looked_at",
        "A message after they said stop",
        "Suppressions are not looked at at the hand-over.",
        (
            Edit(
                SENDER,
                "            held = await people.get_suppressions(connection, person_ids,"
                " [r.address_hash for r in ready])\n",
                "            held: list[Any] = []\n",
            ),
        ),
        (Suite((f"{TEXTS}::test_stop_during_preparation_wins",), "assert"),),
    ),
    Mutant(
        "stop_does_not_wait_for_a_hand_over",
        "A message after they said stop",
        "A hand-over looks at suppressions without the lock that a stop takes.",
        (
            Edit(
                SENDER,
                "            await connection.execute(people.SHARE_LOCK, people.SUPPRESSION_LOCK)\n",
                "",
            ),
        ),
        (Suite((f"{TEXTS}::test_stop_is_answered_after_the_hand_over_that_did_not_see_it",), "assert"),),
    ),
    Mutant(
        "consent_not_looked_at",
        "A message that nobody consented to",
        "A withdrawal that came after the message was planned does not count.",
        (
            Edit(
                SENDER,
                "            withdrawn = await people.get_withdrawn(connection, person_ids)\n",
                "            withdrawn: frozenset[Any] = frozenset()\n",
            ),
        ),
        (Suite((f"{TEXTS}::test_consent_withdrawn_here_counts_before_signup_says_so",), "assert"),),
    ),
    Mutant(
        "quiet_hours_by_one_clock",
        "A text at night",
        "Quiet hours are judged by UTC instead of the recipient's zone.",
        (
            Edit(
                RULES,
                "(opens := texting_opens(contact.time_zone, texting, now))",
                '(opens := texting_opens("UTC", texting, now))',
            ),
        ),
        (Suite((f"{TEXTS}::test_text_at_night_waits_for_the_morning",), "assert"),),
    ),
    Mutant(
        "quiet_hours_only_when_queued",
        "A text at night",
        "Quiet hours count for a message's first look only; what was deferred goes when the next sender finds it.",
        (
            Edit(
                SENDER,
                "                elif isinstance(verdict, Defer):\n"
                '                    unsent.append(Unsent(message.id, "deferred", "quiet_hours", verdict.until))\n',
                "                elif isinstance(verdict, Defer) and message.tries == 0:\n"
                "                    until = work.now + dt.timedelta(minutes=1)\n"
                '                    unsent.append(Unsent(message.id, "deferred", "quiet_hours", until, tried=1))\n',
            ),
        ),
        (Suite((f"{TEXTS}::test_text_at_night_waits_for_the_morning",), "assert"),),
    ),
    Mutant(
        "retry_after_ignored",
        "A provider that asked for patience is asked again",
        "Retry-After of the text provider is not obeyed.",
        (
            Edit(
                RULES,
                "        wait = retry_after_seconds if retry_after_seconds is not None else usual\n",
                "        wait = usual\n",
            ),
        ),
        (Suite((f"{TEXTS}::test_retry_after_is_obeyed",), "assert"),),
    ),
)
