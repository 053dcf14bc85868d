#!/bin/sh
# What building and testing libharmonyrt needs from Debian or Ubuntu. With --hardness also what the fuzzers, valgrind
# and clang-tidy need. Installs as root; else says what to run.
set -e
packages="cmake ninja-build g++ pkg-config nlohmann-json3-dev doctest-dev libpng-dev libjpeg-dev"
if [ "$1" = "--hardness" ]; then
    packages="$packages clang clang-tidy libclang-rt-dev valgrind"
    # Older releases have the sanitizer libraries under their compiler's version only.
    apt-cache show libclang-rt-dev >/dev/null 2>&1 || packages=$(echo "$packages" | sed "s/libclang-rt-dev/libclang-rt-14-dev/")
fi
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "libharmonyrt needs packages that are not installed; run: sudo apt-get install$missing" >&2
    exit 1
fi
echo "installing:$missing" >&2
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
