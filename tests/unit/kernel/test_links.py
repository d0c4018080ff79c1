"""Link tokens: derived, so that a resend carries the same one, and good for one purpose."""

import base64

from hypothesis import given
from hypothesis import strategies as st

from shared.links import derive, fingerprint, matches


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_token_has_128_bits_and_is_the_same_again(secret: str, purpose: str, reference: str) -> None:
    token = derive(secret, purpose, reference)
    assert len(base64.urlsafe_b64decode(token + "==")) == 16
    assert derive(secret, purpose, reference) == token
    assert matches(secret, purpose, reference, token)


def test_token_opens_nothing_else() -> None:
    token = derive("secret", "confirm", "1")
    others = [("secret", "sign-in", "1"), ("secret", "confirm", "2"), ("other", "confirm", "1")]
    assert [matches(*other, token) for other in others] == [False, False, False]
    assert not matches("secret", "confirm", "1", token[:-1])
    assert not matches("secret", "confirm", "1", "é" * 22)


def test_only_the_hash_is_stored() -> None:
    assert len(fingerprint("token")) == 32
    assert fingerprint("token") != fingerprint("Token")
