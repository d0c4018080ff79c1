"""`python -m shared.topics create`: make the system's topics on a cluster, with partitions and settings."""

import argparse
import asyncio

from shared.broker import create_topics
from shared.events import ALL_TOPICS


def main() -> None:
    """Create missing topics and print their names."""
    parser = argparse.ArgumentParser(prog="python -m shared.topics", description=__doc__)
    parser.add_argument("command", choices=["create"])
    parser.add_argument("--bootstrap", required=True, help="host:port of a broker")
    parser.add_argument("--partitions", type=int, default=24, help="never changed afterwards (default 24)")
    parser.add_argument("--replication", type=int, default=1)
    options = parser.parse_args()
    created = asyncio.run(
        create_topics(options.bootstrap, ALL_TOPICS, partitions=options.partitions, replication=options.replication)
    )
    print("\n".join(created) or "All topics are there.")


if __name__ == "__main__":
    main()
