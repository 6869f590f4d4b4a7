#!/bin/sh
# The commands of the README on a fresh Debian 13: as a user without root, once the packages are there.
#
# Makes a Debian 13 in target/debian13/root by debootstrap (kept for the next run), puts a clone of HEAD and this
# machine's Rust toolchain into it, installs the packages that the README names, and runs as the user `newcomer`:
#
#   ./dev demo --duration 3s
#   cargo install --path . --locked
#
# Needs root, some 6 GB, and half an hour on two cores. MIRROR names another mirror of Debian.
set -eu
cd "$(dirname "$0")/../.."
mirror=${MIRROR:-http://deb.debian.org/debian}
root=$PWD/target/debian13/root
say() { printf '\033[1mdebian13: %s\033[0m\n' "$*" >&2; }

# Everything below is mounted in a mount namespace of its own, so that nothing of it stays when this ends.
[ -n "${TRING_UNSHARED:-}" ] || exec env TRING_UNSHARED=1 unshare --mount --pid --fork --kill-child sh "$0"

inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }
newcomer() {
    chroot "$root" setpriv --reuid=newcomer --regid=newcomer --init-groups \
        env -i PATH=/opt/rust/bin:/usr/bin:/bin HOME=/home/newcomer TERM=dumb sh -euc "cd ~/tring; $*"
}

if [ ! -e "$root/etc/debian_version" ]; then
    say "making a Debian 13"
    mkdir -p "$root"
    debootstrap --variant=minbase --include=ca-certificates trixie "$root" "$mirror" >&2
    inside useradd --create-home newcomer
fi
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
cp /etc/resolv.conf "$root/etc/resolv.conf"
# A machine behind a proxy may trust authorities of its own.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
mkdir -p "$root/opt/rust"
mount --rbind "$(rustc --print sysroot)" "$root/opt/rust"

say "the packages that the README names"
packages=$(sed -n 's/^sudo apt-get install //p' README.md)
# shellcheck disable=SC2086 # the list is to be split
inside apt-get update -q >&2 && inside apt-get install -y -q --no-install-recommends $packages >&2

say "a clone of HEAD"
rm -rf "$root/home/newcomer/tring"
git clone -q --no-hardlinks . "$root/home/newcomer/tring"
inside chown -R newcomer: /home/newcomer/tring

say "./dev demo"
newcomer "./dev demo --duration 3s --show none"
say "cargo install"
newcomer "cargo install --path . --locked --root ~/installed && ~/installed/bin/tring --version"
say "both commands end with 0, on Debian $(cat "$root/etc/debian_version") with libvpx $(inside pkg-config --modversion vpx)"
