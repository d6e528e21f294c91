#!/usr/bin/env bash
# Runs a command with a Swift 6 toolchain at hand, in a folder.
# Usage: toolchain.sh FOLDER COMMAND …
#
# Where `swiftc` is installed (any Mac, some Linux) it is that one. Elsewhere, as root on Debian or a relative of it, Debian's own
# swiftlang package is unpacked beside the system, not into it, and the command runs in that root with FOLDER as /work. No network
# but the package mirror that this machine's apt is set up for is used. Cache: .oracle-venv/swift, or the folder named by
# ESPALIER_SWIFT_CACHE (2.4 GB; download 560 MB). Exits 3 where no toolchain can be had.
set -euo pipefail
folder=$(cd "$1" && pwd)
shift
say() { printf 'swift: %s\n' "$*" >&2; }

if command -v swiftc >/dev/null; then
  cd "$folder"
  exec "$@"
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
root="${ESPALIER_SWIFT_CACHE:-$here/.oracle-venv/swift}"
suite=trixie
packages=(swiftlang libc6-dev libstdc++-14-dev libgcc-14-dev libncurses-dev bash coreutils grep)

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || ! command -v unshare >/dev/null; then
  say "there is no swiftc, and this is no root shell on Debian that could fetch one"
  exit 3
fi
if [ ! -f "$root/.complete" ]; then
  mirror=$(apt-get indextargets --format '$(LABEL) $(SITE)' 'Created-By: Packages' | sed -n 's/^Debian //p' | head -1)
  if [ -z "$mirror" ]; then
    say "there is no swiftc, and apt knows no mirror of Debian"
    exit 3
  fi
  say "unpacking Debian's swiftlang into $root, once"
  rm -rf "$root"
  mkdir -p "$root"
  apt=$(mktemp -d)
  trap 'rm -rf "$apt"' EXIT
  mkdir -p "$apt"/{etc/apt/apt.conf.d,etc/apt/preferences.d,etc/apt/trusted.gpg.d,var/lib/apt/lists/partial,var/lib/dpkg,var/cache/apt/archives/partial}
  cp /etc/apt/apt.conf.d/* "$apt/etc/apt/apt.conf.d/" 2>/dev/null || true
  touch "$apt/var/lib/dpkg/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/etc/apt/sources.list"
  options=(-o "Dir=$apt" -o "Dir::State::status=$apt/var/lib/dpkg/status" -o Debug::NoLocking=1 -q)
  if ! apt-get "${options[@]}" update >&2 ||
    ! apt-get "${options[@]}" install --no-install-recommends --download-only -y "${packages[@]}" >"$apt/log" 2>&1; then
    tail -3 "$apt/log" >&2 || true
    say "the toolchain could not be fetched"
    exit 3
  fi
  for package in "$apt"/var/cache/apt/archives/*.deb; do dpkg -x "$package" "$root"; done
  for link in bin sbin lib lib64; do [ -e "$root/$link" ] || ln -s "usr/$link" "$root/$link"; done
  mkdir -p "$root/proc" "$root/dev" "$root/tmp" "$root/work"
  touch "$root/.complete"
fi
# A mount namespace of its own: what is mounted is gone when the command ends.
exec unshare --mount sh -c '
  root=$1 folder=$2
  shift 2
  mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --bind "$folder" "$root/work" || exit 3
  exec chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/tmp bash -c "cd /work && exec \"\$@\"" bash "$@"' sh "$root" "$folder" "$@"
