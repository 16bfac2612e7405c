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

# only_verify refuses the inputs that only verify has.
only_verify() {
  none policy "$POLICY"
  none cooldown "$COOLDOWN"
  none download "$DOWNLOAD"
  none github-token "$GITHUB_TOKEN"
}
# judges says whose policy judges: of a release's URL the program knows it.
judges() {
  local urls=''
  if [ "$COMMAND" = verify ] && [ -z "$REPOSITORY" ]; then
    [ -z "$POLICY" ] || return 0
    case $ARTIFACTS in *://*) urls=yes ;; esac
  fi
  [ -n "$urls" ] || option repo "${REPOSITORY:-$GITHUB_SERVER_URL/$GITHUB_REPOSITORY}"
}

lines trusted-root "$TRUSTED_ROOT"
case $COMMAND in
  authorize | sign-release)
    judges
    option require "$REQUIRE"
    option max-age "$MAX_AGE"
    option directory "$DIRECTORY"
    option checkout "$CHECKOUT"
    option tag "$TAG"
    none lock "$LOCK"
    none output "$OUTPUT"
    none bundles "$BUNDLES"
    only_verify
    if [ "$COMMAND" = authorize ]; then
      option stage "$STAGE"
      none signing-config "$SIGNING_CONFIG"
    else
      none stage "$STAGE"
      lines signing-config "$SIGNING_CONFIG"
    fi
    ;;
  verify)
    judges
    option require "$REQUIRE"
    option max-age "$MAX_AGE"
    option directory "$DIRECTORY"
    option tag "$TAG"
    option lock "$LOCK"
    lines bundle "$BUNDLES"
    option policy "$POLICY"
    option cooldown "$COOLDOWN"
    option download "$DOWNLOAD"
    [ -z "$GITHUB_TOKEN" ] || args+=(--github-token)
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
    none max-age "$MAX_AGE"
    only_verify
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
