# Steps that more than one script takes. Sourced; runs nothing by itself.

# Ends with a message on what to do.
stop() {
  printf '%s\n' "$*" >&2
  exit 1
}

# Installs distribution packages, or says which are missing where that may not be done. With show_installation=yes what
# apt-get says is shown all the time: for those that take minutes.
# usage: install_packages "why they are needed" package...
install_packages() {
  local why=$1
  shift
  if ! command -v apt-get >/dev/null; then
    stop "$why: install what your distribution calls $*, then run this again (apt-get was not found)."
  fi
  local as_root=()
  if [[ $(id -u) -ne 0 ]]; then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
      stop "$why. Neither root nor allowed to use sudo without a password; run: sudo apt-get install $*"
    fi
    as_root=(sudo -n)
  fi
  printf '%s: installing %s\n' "$why" "$*" >&2
  # Package lists may be absent (containers) or good enough as they are: fetched only when needed.
  local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@")
  local output
  if [[ ${show_installation:-no} == yes ]]; then exec {output}>&2; else exec {output}>/dev/null; fi
  if ! "${install[@]}" >&"$output" 2>&1; then
    echo 'Fetching package lists, then trying again' >&2
    "${as_root[@]}" apt-get update -qq >&2 || stop "$why: apt-get update failed; is there a network?"
    "${install[@]}" >&2 || stop "$why: apt-get install $* failed, see above."
  fi
}

# True when one of the paths (globs allowed) exists.
# usage: any_exists pattern...
any_exists() {
  compgen -G "$1" >/dev/null && return 0
  shift
  [[ $# -gt 0 ]] && any_exists "$@"
}

# Headers that came with this Node, if they did, so that native code builds without a download.
use_own_headers() {
  local prefix
  prefix=$(node -p "require('node:path').resolve(process.execPath, '../..')")
  if [[ -f $prefix/include/node/node.h ]]; then
    export npm_config_nodedir=$prefix
  fi
}
