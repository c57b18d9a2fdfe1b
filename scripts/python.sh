#!/bin/sh
# Installs redis-py under target/python, for the test with a foreign client. Without pip it prints a
# message and continues.
# With the argument `bench`, also installs django-cacheops under target/python-cacheops, for the
# benchmarks.
set -u

repo=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1

# Asks Python itself: a package that pip has installed may still need another one.
imports() {
    PYTHONPATH=$1 python3 -c "import $2" >/dev/null 2>&1
}

# Includes dependencies: before Python 3.11.3, which Debian 12 does not have, redis-py needs one
# more package.
install() {
    packages=$1
    shift
    PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
        python3 -m pip install --quiet --upgrade --target "$packages" "$@" >/dev/null 2>&1
}

# provide <what> <folder> <modules> <packages …>
provide() {
    what=$1 folder=$repo/target/$2 modules=$3
    shift 3
    if imports "$folder" "$modules" || { mkdir -p "$folder" && install "$folder" "$@" && imports "$folder" "$modules"; }; then
        echo "$what ready: $folder"
    else
        echo "$what skipped: no python3 with pip, the package index is out of reach, or it does not run on this Python"
    fi
}

provide redis-py python redis "redis==8.1.0; python_version >= '3.10'" "redis; python_version < '3.10'"
if [ "${1:-}" = bench ]; then
    # cacheops cannot be imported before Django has its settings.
    provide django-cacheops python-cacheops "django, funcy, redis, sqlite3" django-cacheops==7.2
fi
