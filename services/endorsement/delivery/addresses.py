"""Where a webhook may go: https, and public addresses only. What was checked is what is connected to."""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import httpx

from shared.errors import Rejected
from shared.web.text import Message, _

MAX_URL = 500
RESOLVE_SECONDS = 5.0
NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL: `address` is what to connect to, `host` (ASCII) what Host header and server name ask for."""

    scheme: str
    host: str
    port: int
    address: str
    path: str

    @property
    def url(self) -> str:
        """The URL with the checked address in the place of the host."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{address}:{self.port}{self.path}"

    @property
    def host_header(self) -> str:
        """The host as the receiver knows it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"https": 443, "http": 80}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"


def refused(sentence: Message) -> Rejected:
    """The refusal of an address."""
    return Rejected("address_refused", sentence, status=422, fields={"url": sentence})


def check_url(url: str, *, allow_private: bool) -> SplitResult:
    """The parts of a URL that looks right; raises `Rejected` (address_refused) with what to change."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise refused(_("Enter a complete address that begins with https://.")) from None
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes or not parts.hostname or len(url) > MAX_URL:
        raise refused(_("Enter a complete address that begins with https://."))
    if parts.username is not None or parts.password is not None:
        raise refused(_("Leave user name and password out of the address; check our signature instead."))
    if parts.fragment or port == 0:
        raise refused(_("Leave out what follows the # sign, and give a port other than 0."))
    return parts


async def resolve(url: str, *, allow_private: bool) -> Target:
    """Look the host up once, by its ASCII form (IDNA), and check every address; raises `Rejected` (address_refused).

    One private address among public ones refuses the whole host: which one is connected to would be up to chance.
    """
    parts = check_url(url, allow_private=allow_private)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        host = httpx.URL(scheme=parts.scheme, host=parts.hostname or "").raw_host.decode("ascii")
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError, httpx.InvalidURL):
        raise refused(_("The host of this address cannot be found. Check its spelling.")) from None
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    if not addresses:
        raise refused(_("The host of this address cannot be found. Check its spelling."))
    if not allow_private and not all(is_public(address) for address in addresses):
        raise refused(_("This address leads into a private network. Give one that is public on the internet."))
    path = parts.path or "/"
    return Target(parts.scheme, host, port, addresses[0], f"{path}?{parts.query}" if parts.query else path)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet: not private, loopback, link-local, metadata, multicast.

    An IPv4 address inside an IPv6 one counts as what it is.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if ip.teredo is not None:
            inner = ip.teredo[1]
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified
