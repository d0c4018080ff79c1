"""`python -m services.signup.staff`, as an operator runs it."""

import os
import subprocess
import sys

import httpx

from services.signup.settings import Settings
from shared.service import Service
from tests.harness import ROOT


def run(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = service.context.settings
    assert isinstance(settings, Settings)
    secrets = {
        "SIGNUP_DATABASE_URL": settings.database_url,
        "SIGNUP_INTERNAL_TOKEN": settings.internal_token,
        "SIGNUP_LINK_SECRET": settings.link_secret,
        "SIGNUP_SESSION_PRIVATE_KEY": settings.session_private_key,
    }
    environment = {
        **{name: secret.get_secret_value() for name, secret in secrets.items()},
        "SIGNUP_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "SIGNUP_PROGRAM": str(settings.program),
        "SIGNUP_SESSION_PUBLIC_KEY": settings.session_public_key,
        **{
            f"SIGNUP_{name.upper()}_URL": settings.public_url(name)
            for name in ("signup", "matching", "notifications", "endorsement")
        },
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, "-m", "services.signup.staff", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


async def test_account_is_added_listed_and_removed(service: Service, client: httpx.AsyncClient) -> None:
    who = ("--name", "Rae Moss", "--email", "rae@example.org")
    added = run(service, "add", *who, "--role", "reviewer", "--outside")
    assert (added.returncode, added.stderr) == (0, "")
    token = added.stdout.strip().removeprefix("http://signup.test/account/sign-in/")
    assert (await client.post("/v1/account/session", json={"token": token})).status_code == 200
    assert (await client.post("/v1/account/session", json={"token": token})).status_code == 410
    assert run(service, "list").stdout == "rae@example.org\tRae Moss\treviewer (outside)\n"
    assert run(service, "remove", "--email", "rae@example.org").returncode == 0
    again = run(service, "remove", "--email", "rae@example.org")
    sentence = "No open account has this address; list the accounts to see which there are.\n"
    assert (again.returncode, again.stderr) == (1, sentence)
