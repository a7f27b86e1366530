"""Digest credentials of a client."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.sip import grammar
from signalbox.sip.digest import COUNT_MAX, Challenge, CredentialsError, DigestClient, credentials
from signalbox.sip.errors import MessageError
from signalbox.sip.message import Headers, Request, Response

REALM = 'Digest realm="example.net", nonce="{}"{}'


def request(method: str = "INVITE", uri: str = "sip:bob@example.net", body: bytes = b"") -> Request:
    return Request(method, uri, Headers(), body)


def refusal(*challenges: str, status: int = 407) -> Response:
    name = "Proxy-Authenticate" if status == 407 else "WWW-Authenticate"
    return Response(status, "", Headers((name, one) for one in challenges))


def parts(value: str) -> dict[str, str]:
    """What credentials tell, and whether quotes stand where RFC 7616 section 3.4 has them."""
    assert value.startswith("Digest ")
    found = dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|[^",]+)', value))
    for name, text in found.items():
        assert text.startswith('"') == (name not in ("algorithm", "qop", "nc", "userhash")), name
    return {name: grammar.unquote(text) for name, text in found.items()}


def client() -> DigestClient:
    numbers = iter(range(1, 100))
    return DigestClient("alice", "secret", lambda: f"cnonce{next(numbers)}")


def sent(digest: DigestClient, one: Request) -> list[dict[str, str]]:
    digest.authorize(one)
    return [parts(value) for value in one.headers.all("Proxy-Authorization")]


@pytest.mark.parametrize(
    ("challenge", "user", "password", "uri", "cnonce", "told"),
    [
        pytest.param(
            'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"',
            "Mufasa",
            "Circle Of Life",
            "/dir/index.html",
            "0a4f113b",
            "6629fae49393a05397450978507c4ef1",
            id="RFC 2617 section 3.5",
        ),
        pytest.param(
            'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, '
            'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
            'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"',
            "Mufasa",
            "Circle of Life",
            "/dir/index.html",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            "8ca523f5e9506fed4657c9700eebdbec",
            id="RFC 7616 section 3.9.1, MD5",
        ),
        pytest.param(
            'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, '
            'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
            'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"',
            "Mufasa",
            "Circle of Life",
            "/dir/index.html",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            id="RFC 7616 section 3.9.1, SHA-256",
        ),
        pytest.param(
            'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, charset=UTF-8, userhash=true, '
            'nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", '
            'opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS"',
            "J\u00e4s\u00f8n Doe",
            "Secret, or not?",
            "/doe.json",
            "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
            "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
            id="RFC 7616 section 3.9.2, erratum 4897",
        ),
    ],
)
def test_vectors_of_the_rfcs(challenge: str, user: str, password: str, uri: str, cnonce: str, told: str) -> None:
    asked = Challenge.parse(challenge)
    assert asked is not None
    found = parts(credentials(asked, request("GET", uri), user, password, cnonce=cnonce, count=1))
    assert found["response"] == told
    assert (found["nc"], found["qop"], found["cnonce"], found["uri"]) == ("00000001", "auth", cnonce, uri)
    assert found.get("opaque") == asked.opaque
    if asked.userhash:
        assert found["username"] == "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
        assert found["userhash"] == "true"
    else:
        assert found["username"] == user


def h(*texts: str | bytes, name: str = "md5") -> str:
    return hashlib.new(name, b":".join(one if isinstance(one, bytes) else one.encode() for one in texts)).hexdigest()


def test_a_server_of_rfc_2069() -> None:
    found = parts(credentials(Challenge("r", "n"), request(), "u", "p", cnonce="c", count=1))
    assert found["response"] == h(h("u:r:p"), "n", h("INVITE:sip:bob@example.net"))
    assert not found.keys() & {"qop", "nc", "cnonce", "opaque"}


def test_the_body_is_protected_if_nothing_else_is_offered() -> None:
    asked = Challenge("r", "n", "SHA-256", ("auth-int",), "")
    found = parts(credentials(asked, request(body=b"v=0\r\n\xff"), "u", "p", cnonce="c", count=26))
    a2 = h("INVITE:sip:bob@example.net", h(b"v=0\r\n\xff", name="sha256"), name="sha256")
    secret = h("u:r:p", name="sha256")
    assert found["response"] == h(secret, "n:0000001a:c:auth-int", a2, name="sha256")
    assert (found["qop"], found["nc"], found["opaque"]) == ("auth-int", "0000001a", "")


@pytest.mark.parametrize(("algorithm", "name"), [("MD5-sess", "md5"), ("SHA-256-sess", "sha256")])
def test_a_key_for_the_session(algorithm: str, name: str) -> None:
    asked = Challenge("r", "n", algorithm, ("auth",))
    found = parts(credentials(asked, request(), "u", "p", cnonce="c", count=1))
    secret = h(h("u:r:p", name=name), "n:c", name=name)
    assert found["response"] == h(secret, "n:00000001:c:auth", h("INVITE:sip:bob@example.net", name=name), name=name)
    assert found["algorithm"] == algorithm


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20))
@settings(deadline=None)
def test_quotes_and_backslashes_are_escaped(text: str) -> None:
    found = parts(credentials(Challenge(text, "n", opaque=text), request(), text, "p", cnonce="c", count=1))
    assert found["username"] == found["realm"] == found["opaque"] == text
    assert found["response"] == h(h(f"{text}:{text}:p"), "n", h("INVITE:sip:bob@example.net"))


# Challenges


def test_a_challenge_is_read() -> None:
    text = ' digest\t Realm="a \\"b\\"" , NONCE=abc,qop="auth,AUTH-INT",opaque="",stale=TRUE,algorithm=sha-256,x="1,2"'
    assert Challenge.parse(text) == Challenge('a "b"', "abc", "sha-256", ("auth", "auth-int"), "", True)


@pytest.mark.parametrize("text", ["Bearer x", 'Basic realm="x"', "NTLM", ""])
def test_another_scheme_is_none_of_ours(text: str) -> None:
    assert Challenge.parse(text) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Digest", "has an empty value"),
        ('Digest nonce="n"', "must have realm"),
        ('Digest realm="r"', "must have nonce"),
        ('Digest realm="r", nonce', "must be Digest and parameters, each once"),
        ('Digest realm="r", nonce="n", Realm="s"', "must be Digest and parameters, each once"),
        ('Digest realm="r, nonce="n"', ""),
    ],
)
def test_what_is_no_challenge(text: str, told: str) -> None:
    with pytest.raises(MessageError, match=f"Proxy-Authenticate {told}"):
        client().challenged(request(), refusal(text))


@pytest.mark.parametrize(
    ("algorithm", "qop", "known"),
    [
        ("MD5", (), True),
        ("md5-SESS", ("auth",), True),
        ("SHA-512-256", ("x", "auth-int"), True),
        ("AKAv1-MD5", (), False),
        ("MD5", ("x",), False),
    ],
)
def test_what_can_be_answered(algorithm: str, qop: tuple[str, ...], known: bool) -> None:
    assert Challenge("r", "n", algorithm, qop).is_known is known


# A client


def test_nothing_is_told_before_a_challenge() -> None:
    assert sent(client(), request()) == []


@pytest.mark.parametrize(("status", "name"), [(401, "Authorization"), (407, "Proxy-Authorization")])
def test_a_challenge_is_answered_where_it_belongs(status: int, name: str) -> None:
    digest, one = client(), request()
    digest.challenged(one, refusal(REALM.format("n", ""), status=status))
    digest.authorize(one)
    assert list(one.headers.names()) == [name]
    assert parts(one.headers.all(name)[0])["realm"] == "example.net"


def test_later_requests_tell_at_once_and_count() -> None:
    digest, one = client(), request()
    digest.challenged(one, refusal(REALM.format("n", ', qop="auth"')))
    told = [sent(digest, request(method))[0] for method in ("INVITE", "ACK", "BYE")]
    assert [one["nc"] for one in told] == ["00000001", "00000002", "00000003"]
    assert {one["cnonce"] for one in told} == {"cnonce1"}
    assert len({one["response"] for one in told}) == 3


def test_credentials_of_the_last_try_are_replaced() -> None:
    digest, one = client(), request()
    digest.challenged(one, refusal(REALM.format("n", "")))
    sent(digest, one)
    assert len(sent(digest, one)) == 1


def test_each_realm_is_answered() -> None:
    digest, one = client(), request()
    digest.challenged(one, refusal(REALM.format("n", ""), 'Digest realm="other", nonce="m"'))
    assert [(told["realm"], told["nonce"]) for told in sent(digest, one)] == [("example.net", "n"), ("other", "m")]


def test_a_proxy_and_a_server_are_answered() -> None:
    digest, one = client(), request()
    digest.challenged(one, refusal(REALM.format("n", "")))
    sent(digest, one)
    digest.challenged(one, refusal(REALM.format("m", ""), status=401))
    digest.authorize(one)
    assert parts(one.headers.all("Proxy-Authorization")[0])["nonce"] == "n"
    assert parts(one.headers.all("Authorization")[0])["nonce"] == "m"


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (["MD5", "SHA-256"], "SHA-256"),
        (["SHA-256", "MD5"], "SHA-256"),
        (["SHA-256", "SHA-512-256"], "SHA-256"),
        (["MD5", "SHA-512-256", "SHA-256"], "SHA-512-256"),
        (["SHA-1024", "MD5"], "MD5"),
        (["MD5", "MD5-sess"], "MD5"),
    ],
)
def test_the_strongest_of_a_realm_is_taken_the_first_of_equals(offered: list[str], taken: str) -> None:
    digest, one = client(), request()
    digest.challenged(one, refusal("Bearer x", *(REALM.format("n", f", algorithm={name}") for name in offered)))
    assert [told["algorithm"] for told in sent(digest, one)] == [taken]


@pytest.mark.parametrize("challenges", [[], ["Bearer x"], [REALM.format("n", ", algorithm=AKAv1-MD5")]])
def test_without_a_challenge_that_we_know(challenges: list[str]) -> None:
    with pytest.raises(CredentialsError, match="407 without a challenge that can be answered"):
        client().challenged(request(), refusal(*challenges))


def test_credentials_that_are_refused_are_not_told_again() -> None:
    digest, one = client(), request()
    digest.challenged(one, refusal(REALM.format("n", ', qop="auth"')))
    sent(digest, one)
    with pytest.raises(CredentialsError, match=r"example\.net refuses the credentials"):
        digest.challenged(one, refusal(REALM.format("m", ', qop="auth"')))


def test_a_stale_nonce_is_replaced_once() -> None:
    digest, one = client(), request()
    digest.challenged(one, refusal(REALM.format("n", ', qop="auth"')))
    sent(digest, one)
    digest.challenged(one, refusal(REALM.format("m", ', qop="auth", stale=true')))
    (told,) = sent(digest, one)
    assert (told["nonce"], told["nc"], told["cnonce"]) == ("m", "00000001", "cnonce2")
    with pytest.raises(CredentialsError, match="refuses the credentials"):
        digest.challenged(one, refusal(REALM.format("o", ', qop="auth", stale=true')))


def test_a_nonce_used_before_may_have_become_stale_without_a_word() -> None:
    digest = client()
    digest.challenged(request(), refusal(REALM.format("n", ', qop="auth"')))
    sent(digest, request())
    second = request("BYE")
    sent(digest, second)
    digest.challenged(second, refusal(REALM.format("m", ', qop="auth"')))
    assert [told["nonce"] for told in sent(digest, second)] == ["m"]
    with pytest.raises(CredentialsError):
        digest.challenged(second, refusal(REALM.format("o", ', qop="auth"')))


def test_a_nonce_is_given_up_when_its_count_is_full() -> None:
    digest = client()
    digest.challenged(request(), refusal(REALM.format("n", ', qop="auth"')))
    (known,) = digest._answered.values()
    known.count = COUNT_MAX - 1
    assert [told["nc"] for told in sent(digest, request())] == ["ffffffff"]
    assert sent(digest, request()) == []


def test_client_nonces_are_drawn() -> None:
    digests = [DigestClient("alice", "secret") for _ in range(2)]
    for digest in digests:
        digest.challenged(request(), refusal(REALM.format("n", ', qop="auth"')))
    first, second = (sent(digest, request())[0]["cnonce"] for digest in digests)
    assert first != second
    assert len(first) >= 16
