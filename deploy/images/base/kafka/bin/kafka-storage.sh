#!/bin/sh
# kafka-storage.sh format …
set -eu
exec java -Xmx256m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
  -cp '/opt/kafka/libs/*' kafka.tools.StorageTool "$@"
