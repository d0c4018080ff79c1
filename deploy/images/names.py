"""The names of images: those that are taken from elsewhere, or made on the spot, and ours."""

from deploy.embedded.kafka import VERSION as KAFKA_VERSION
from shared.settings import SERVICES

DEBIAN = "debian:bookworm-slim"
PYTHON = "python:3.11-slim-bookworm"
POSTGRES = "postgres:15-bookworm"
KAFKA = f"apache/kafka:{KAFKA_VERSION}"
BASES = (PYTHON, POSTGRES, KAFKA)

OURS = (*SERVICES, "mailbox")
# On images that `deploy.images.base` made under a name that a registry knows too.
MADE_HERE = "org.hustings.made-here"
# What an image was built from, as `deploy.images.build` computes it.
SOURCES = "org.hustings.sources"


def ours(name: str, tag: str = "latest") -> str:
    """`hustings/signup:latest`."""
    return f"hustings/{name}:{tag}"
