# SPDX-License-Identifier: Apache-2.0
# Runs one command of the program. Everything it is told is in its environment, and
# every value is one argument: an option as --name=value, an artifact after "--".
set -uo pipefail

refuse() {
  echo "::error title=repopolicy::$1"
  echo 'verdict=USAGE' >> "$GITHUB_OUTPUT"
  exit 2
}

args=("$COMMAND" --format=github)

# option NAME VALUE adds one option, lines NAME VALUES one for each line.
option() { [ -z "$2" ] || args+=("--$1=$2"); }
lines() {
  local line
  while IFS= read -r line; do option "$1" "${line%$'\r'}"; done <<< "$2"
}
# none INPUT VALUE refuses an input that the command does not have.
none() { [ -z "$2" ] || refuse "the input $1 does not go with this command"; }

lines trusted-root "$TRUSTED_ROOT"
case $COMMAND in
  authorize | sign-release)
    option repo "$REPOSITORY"
    option require "$REQUIRE"
    option directory "$DIRECTORY"
    option checkout "$CHECKOUT"
    option tag "$TAG"
    none lock "$LOCK"
    none output "$OUTPUT"
    none bundles "$BUNDLES"
    if [ "$COMMAND" = authorize ]; then
      option stage "$STAGE"
      none signing-config "$SIGNING_CONFIG"
    else
      none stage "$STAGE"
      lines signing-config "$SIGNING_CONFIG"
    fi
    ;;
  verify)
    option repo "$REPOSITORY"
    option require "$REQUIRE"
    option directory "$DIRECTORY"
    option tag "$TAG"
    option lock "$LOCK"
    lines bundle "$BUNDLES"
    none stage "$STAGE"
    none git "$CHECKOUT"
    none output "$OUTPUT"
    none signing-config "$SIGNING_CONFIG"
    ;;
  bind)
    option git "$CHECKOUT"
    option output "$OUTPUT"
    lines signing-config "$SIGNING_CONFIG"
    [ "$PUBLISH_NAME" != true ] || args+=(--publish-name)
    none artifacts "$ARTIFACTS"
    none tag "$TAG"
    none stage "$STAGE"
    none bundles "$BUNDLES"
    none lock "$LOCK"
    none require "$REQUIRE"
    none directory "$DIRECTORY"
    ;;
  *) refuse 'the input command is authorize, sign-release, bind or verify' ;;
esac

if [ "$COMMAND" != bind ]; then
  report=$(mktemp "${RUNNER_TEMP:-/tmp}/repopolicy-report.XXXXXXXX") || exit 3
  args+=("--report=$report" --)
  while IFS= read -r line; do
    line=${line%$'\r'}
    [ -z "$line" ] || args+=("$line")
  done <<< "$ARTIFACTS"
fi

# The program writes the outputs itself.
exec "$PROGRAM" "${args[@]}"
