"""Made-up sign-ups and events, as many as a benchmark wants."""

from uuid import UUID, uuid4

from shared.events.signup import SignedUp


def signed_up(person_id: UUID) -> SignedUp:
    """The event of one sign-up by the form `run`."""
    return SignedUp(
        person_id=person_id,
        signup_id=uuid4(),
        intent_id=uuid4(),
        form="run",
        role="prospect",
        known=False,
        legal_body="pac",
        program_version="2025",
        language="en",
        state="TX",
        office="city_council",
        office_level="local",
        time_zone="America/Chicago",
    )
