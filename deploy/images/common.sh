# shellcheck shell=bash disable=SC2034 # used by those that read it
# What build and compare know alike: which images there are and what they are called, the tool, and the time of all files.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
names=(signalbox kamailio rtpengine etcd valkey loadtest)

fail() {
    echo "images: error: $1" >&2
    exit 1
}

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml")
tag=${IMAGE_TAG:-$version}
prefix=${IMAGE_PREFIX:-}
tool=${IMAGE_TOOL:-}
if [ -z "$tool" ]; then
    if command -v podman >/dev/null; then tool=podman; elif command -v docker >/dev/null; then tool=docker; else
        fail "neither podman nor docker is here; IMAGE_BUILD and IMAGE_TOOL name other commands"
    fi
fi

# Times in the image are those of the last commit, so that the same commit gives the same image.
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 0)}

# signalbox-kamailio for kamailio; the image of the processes has the product's own name.
image_of() { if [ "$1" = signalbox ]; then echo "${prefix}signalbox:$tag"; else echo "${prefix}signalbox-$1:$tag"; fi; }
