#!/usr/bin/env bash
# The browser of the console's tests: the one that is installed, else Debian's Chromium (as root).
set -euo pipefail
if command -v "${HUB_TEST_BROWSER:-chromium}" >/dev/null; then
    exit 0
fi
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y chromium >/dev/null
