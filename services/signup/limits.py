"""Who may send how much: per network address, per e-mail address, and in all.

Keys are keyed hashes, so that the table names nobody. Tokens are taken by one small statement before the work, and
given back for what is refused. Its commit waits for no disk (`store.limits`), so that a sign-up waits for one, which is
its own.
"""

import hashlib
import hmac
import ipaddress
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from services.signup.settings import Settings
from services.signup.store import limits as store
from services.signup.store.limits import Limit
from shared.db import Pool
from shared.errors import Rejected
from shared.web.text import _

GLOBAL = "all"


def too_many() -> Rejected:
    """The answer to whoever has to wait."""
    message = _("That was a lot at once. Nothing you typed was lost; wait a minute and send it again.")
    return Rejected("too_many", message, status=429)


def of_sender(keys: Sequence[str]) -> tuple[str, ...]:
    """The buckets of a request without that of the address that it would have mailed."""
    return tuple(key for key in keys if not key.startswith("contact:"))


@dataclass(frozen=True, slots=True)
class Limits:
    """The buckets of one installation."""

    pool: Pool
    settings: Settings

    def keys(self, address: str, email_key: str | None) -> tuple[str, ...]:
        """The buckets that one request draws from."""
        keys = [GLOBAL, self._key("address", _network(address))]
        return (*keys, self._key("contact", email_key)) if email_key else tuple(keys)

    async def admit(self, requests: Sequence[Sequence[str]]) -> list[bool]:
        """Which of these requests, each given by its buckets, may go on; those take a token of each."""
        wanted = Counter(key for keys in requests for key in keys)
        tokens = await store.take(self.pool, {key: self._limit(key) for key in wanted}, wanted)
        if all(tokens[key] >= count for key, count in wanted.items()):
            return [True] * len(requests)
        admitted: list[bool] = []
        spent: Counter[str] = Counter()
        for keys in requests:
            fits = all(tokens[key] - spent[key] >= 1 for key in keys)
            admitted.append(fits)
            if fits:
                spent.update(keys)
        await store.give_back(self.pool, wanted - spent)
        return admitted

    async def admit_one(self, address: str, email_key: str | None) -> None:
        """Raise the 429 answer unless the sender has tokens left."""
        if not (await self.admit([self.keys(address, email_key)]))[0]:
            raise too_many()

    def _key(self, kind: str, value: str) -> str:
        secret = self.settings.link_secret.get_secret_value().encode()
        return f"{kind}:{hmac.digest(secret, f'{kind}:{value}'.encode(), hashlib.sha256)[:16].hex()}"

    def _limit(self, key: str) -> Limit:
        kind = key.partition(":")[0]
        if kind == "address":
            return Limit(self.settings.limit_address_burst, self.settings.limit_address_per_minute / 60)
        if kind == "contact":
            return Limit(self.settings.limit_contact_burst, self.settings.limit_contact_per_hour / 3600)
        return Limit(self.settings.limit_global_burst, self.settings.limit_global_per_second)


@lru_cache(maxsize=4096)
def _network(address: str) -> str:
    """The address itself, or the /64 of an IPv6 one: a host may take any address of its /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
