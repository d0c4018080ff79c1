"""Rows as the JSON interface shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.endorsement.domain.eligibility import Verdict
from services.endorsement.domain.explanation import explain
from services.endorsement.store.applications import Application
from services.endorsement.store.candidacies import Candidacy
from services.endorsement.store.decisions import Decision, Endorsement
from services.endorsement.store.publication import Subscriber
from shared.program import Language, Program


def candidacy_json(row: Candidacy) -> dict[str, Any]:
    """A candidacy as its candidate and staff see it."""
    return {
        "candidacy_id": row.id,
        "office": row.office,
        "office_level": row.office_level,
        "state": row.state,
        "district": row.district,
        "election_date": row.election_date,
        "term": row.term,
        "ballot_name": row.ballot_name,
        "official_link": row.official_link,
        "filed_on": row.filed_on,
        "status": row.status,
        "return_reason": row.return_reason,
        "return_note": row.return_note,
        "declared_at": row.declared_at,
        "verified_at": row.verified_at,
    }


def verdict_json(verdict: Mapping[str, Any] | None, languages: Sequence[Language]) -> dict[str, Any] | None:
    """A verdict with each check in words, by language; without the person's facts."""
    if verdict is None:
        return None
    read = Verdict.from_dict(verdict)
    return {
        "outcome": read.outcome,
        "rule_version": read.rule_version,
        "evaluated_at": read.evaluated_at,
        "missing": read.missing,
        "checks": [
            {
                "test": check.test,
                "passed": check.passed,
                "code": check.code,
                "text": {language: explain(check, language) for language in languages},
            }
            for check in read.checks
        ],
    }


def application_json(
    row: Application, program: Program, verdict: Mapping[str, Any] | None, decision: Decision | None
) -> dict[str, Any]:
    """An application as its candidate sees it: the decision's reason, never who decided or why in words."""
    return {
        "application_id": row.id,
        "candidacy_id": row.candidacy_id,
        "application_class": row.application_class,
        "version": row.version,
        "status": row.status,
        "answers": row.answers,
        "birth_year": row.birth_year,
        "birth_date": row.birth_date,
        "publish_consent": row.publish_consent,
        "saved_at": row.saved_at,
        "submitted_at": row.submitted_at,
        "answer_by": row.answer_by,
        "eligibility": verdict_json(verdict, program.languages),
        "decision": None
        if decision is None
        else {
            "decision_id": decision.id,
            "outcome": decision.outcome,
            "reason": decision.reason,
            "embargo_until": decision.embargo_until,
            "reapply_from": decision.reapply_from,
        },
    }


def decision_json(row: Decision) -> dict[str, Any]:
    """A decision as staff see it."""
    return {
        "decision_id": row.id,
        "application_id": row.application_id,
        "candidacy_id": row.candidacy_id,
        "outcome": row.outcome,
        "reason": row.reason,
        "note": row.note,
        "decided_by": row.decided_by,
        "decided_at": row.decided_at,
        "embargo_until": row.embargo_until,
        "reapply_from": row.reapply_from,
        "scorecards": row.scorecards,
    }


def endorsement_json(row: Endorsement) -> dict[str, Any]:
    """An endorsement as the public sees it: the data of `EndorsementState`."""
    return {
        "endorsement_id": row.id,
        "status": row.status,
        "ballot_name": row.ballot_name,
        "office": row.office,
        "office_label": row.office_label,
        "office_level": row.office_level,
        "state": row.state,
        "district": row.district,
        "election_date": row.election_date,
        "organization": row.organization,
        "legal_body": row.legal_body,
        "program_version": row.program_version,
        "announced_at": row.announced_at,
        "rescinded_at": row.rescinded_at,
    }


def scorecard_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A scorecard as another reviewer sees it."""
    return {
        "scorecard_id": row["id"],
        "reviewer_id": row["reviewer_id"],
        "outside": row["outside"],
        "scores": row["scores"],
        "recommendation": row["recommendation"],
        "comment": row["comment"],
        "submitted_at": row["submitted_at"],
    }


def subscriber_json(row: Subscriber) -> dict[str, Any]:
    """A webhook subscriber, without its secret."""
    return {
        "webhook_id": row.id,
        "url": row.url,
        "description": row.description,
        "status": row.status,
        "disabled_reason": row.disabled_reason,
        "secret_version": row.secret_version,
        "previous_secret_until": row.previous_until,
        "created_at": row.created_at,
    }
