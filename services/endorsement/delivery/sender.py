"""One try: resolve and check, connect to what was checked, post, read nothing but the status."""

import asyncio
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from services.endorsement.delivery.addresses import resolve
from services.endorsement.delivery.signing import secret_of, signed_headers
from services.endorsement.domain.deliveries import read_retry_after
from services.endorsement.store.publication import Claim
from shared.errors import Rejected


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a try came to: a status, or the code of what kept it from one."""

    status_code: int | None
    error: str | None
    retry_after: timedelta | None
    duration_ms: int

    @property
    def succeeded(self) -> bool:
        """Whether the receiver took it."""
        return self.status_code is not None and 200 <= self.status_code < 300


class Sender:
    """Posts deliveries. Connections are not kept: an address is checked anew each time."""

    def __init__(
        self,
        key: str,
        *,
        timeout_seconds: float,
        allow_private: bool,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._key = key
        self._timeout = timeout_seconds
        self._allow_private = allow_private
        self._client = httpx.AsyncClient(
            timeout=timeout_seconds,
            follow_redirects=False,
            trust_env=False,
            verify=tls if tls is not None else True,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def send(self, claim: Claim) -> Outcome:
        """Try once, within the time allowed in all.

        Never raises: a try that did would end the loop for every subscriber, and come again for ever. What nobody
        foresaw is a failed try, with the exception's name in the delivery log.
        """
        began = time.perf_counter()
        status: int | None = None
        error: str | None = None
        retry_after: timedelta | None = None
        try:
            async with asyncio.timeout(self._timeout):
                status, header = await self._post(claim)
            retry_after = read_retry_after(header, datetime.now(UTC))
        except Rejected as refusal:
            error = refusal.code
        except (TimeoutError, httpx.TimeoutException):
            error = "timeout"
        except httpx.ConnectError:
            error = "connect_failed"
        except Exception as fault:  # noqa: BLE001 (whatever it is, the delivery is settled and the others go on)
            error = type(fault).__name__
        return Outcome(status, error, retry_after, int((time.perf_counter() - began) * 1000))

    async def _post(self, claim: Claim) -> tuple[int, str | None]:
        target = await resolve(claim.subscriber.url, allow_private=self._allow_private)
        request = self._client.build_request(
            "POST",
            target.url,
            content=claim.body.encode(),
            headers={
                "Host": target.host_header,
                "Content-Type": "application/cloudevents+json",
                "User-Agent": "Hustings-Webhooks/1",
                **signed_headers(self.secrets(claim), claim.webhook_id, claim.body, datetime.now(UTC)),
            },
            # The certificate is checked against the host's name, though the connection goes to its address.
            extensions={"sni_hostname": target.host},
        )
        answer = await self._client.send(request, stream=True)
        try:
            return answer.status_code, answer.headers.get("retry-after")
        finally:
            await answer.aclose()

    def secrets(self, claim: Claim) -> list[str]:
        """The subscriber's secret, and the former one while it is still valid."""
        subscriber = claim.subscriber
        versions = [subscriber.secret_version]
        if subscriber.previous_until is not None and claim.now < subscriber.previous_until:
            versions.append(subscriber.secret_version - 1)
        return [secret_of(self._key, subscriber.id, version) for version in versions]

    async def close(self) -> None:
        """Close the client."""
        await self._client.aclose()
