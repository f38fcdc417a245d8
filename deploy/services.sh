#!/usr/bin/env bash
# What the local Kafka and schema registry need: the Java and Maven that are installed, else
# Debian's (as root).
set -euo pipefail
if command -v java >/dev/null && command -v mvn >/dev/null; then
    exit 0
fi
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y \
    default-jre-headless maven >/dev/null
