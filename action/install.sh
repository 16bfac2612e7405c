# SPDX-License-Identifier: Apache-2.0
# Puts the program into a new directory and its path into the output "program". A
# release is taken only by the digest that releases.txt beside this file names; while
# it names none for this machine, the program is built from this very checkout.
# Nothing is taken from a cache or from PATH.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$(mktemp -d "${RUNNER_TEMP:-/tmp}/repopolicy.XXXXXXXX")

case $(uname -s) in
  Linux) os=linux ;;
  Darwin) os=darwin ;;
  MINGW* | MSYS* | CYGWIN*) os=windows ;;
  *) os=$(uname -s) ;;
esac
case $(uname -m) in
  x86_64 | amd64) arch=amd64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) arch=$(uname -m) ;;
esac
name=repopolicy
[ "$os" != windows ] || name=repopolicy.exe

digest='' file='' version=''
while read -r d f v; do
  case $d in '' | '#'*) continue ;; esac
  if [ "$f" = "repopolicy_${v#v}_${os}_$arch.tar.gz" ]; then
    digest=$d file=$f version=$v
  fi
done < "$here/releases.txt"

sha256() {
  if command -v sha256sum > /dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

if [ -n "$digest" ]; then
  curl --silent --show-error --fail --location --proto '=https' --proto-redir '=https' --tlsv1.2 --max-redirs 5 --max-time 120 --max-filesize 67108864 \
    --retry 3 --output "$dir/$file" "https://github.com/repopolicy/repopolicy/releases/download/$version/$file"
  if [ "$(sha256 "$dir/$file")" != "$digest" ]; then
    echo "::error title=repopolicy::$file of $version is not the file that this action was made for"
    exit 7
  fi
  tar -xzf "$dir/$file" -C "$dir" "$name"
else
  echo "no release for $os/$arch: building from this checkout"
  GOFLAGS='' GOWORK=off go build -C "$here/.." -trimpath -buildvcs=false -o "$dir/$name" ./cmd/repopolicy
fi
echo "program=$dir/$name" >> "$GITHUB_OUTPUT"
