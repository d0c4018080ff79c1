#!/bin/bash
# Formats the broker's storage at its first start, then becomes the broker. ADVERTISED is the address under which
# programs outside the containers reach it.
set -euo pipefail
config=/compose/server.properties
data=/var/lib/kafka/data
if [ ! -s "$data/log/meta.properties" ]; then
  cluster=$(/opt/kafka/bin/kafka-storage.sh random-uuid | tail -n 1)
  /opt/kafka/bin/kafka-storage.sh format --standalone --cluster-id "$cluster" --config "$config"
fi
exec /opt/kafka/bin/kafka-server-start.sh "$config" \
  --override "advertised.listeners=INSIDE://kafka:9092,OUTSIDE://$ADVERTISED"
