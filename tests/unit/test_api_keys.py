"""API keys: their form and their hash."""

import hashlib

import pytest

from api_gateway.auth import api_keys


def test_a_new_key_is_known_by_its_hash_and_never_twice():
    text, digest = api_keys.new_api_key()

    assert api_keys.looks_like_api_key(text)
    assert digest == hashlib.sha256(text.encode()).digest() == api_keys.digest_of(text)
    assert api_keys.new_api_key()[0] != text


@pytest.mark.parametrize(
    "text", ["", "enr_", "enr_" + "a" * 42, "enr_" + "a" * 44, "x" * 47, "enr_" + "a" * 43 + "\n"]
)
def test_other_texts_do_not_look_like_keys(text):
    assert not api_keys.looks_like_api_key(text)
