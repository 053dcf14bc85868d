#!/bin/sh
# What the tests of the page need from Debian: Chromium and its driver. Installs as root; else says what to run.
set -e
packages="chromium chromium-driver"
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
if [ -z "$missing" ] || { command -v chromedriver && command -v google-chrome; } >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "the tests of the page need packages that are not installed; run: sudo apt-get install$missing" >&2
    exit 1
fi
echo "installing:$missing" >&2
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
