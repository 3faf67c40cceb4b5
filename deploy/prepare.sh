#!/usr/bin/env bash
# prepare.sh TARGET...: checks for what these targets of the Makefile take, and installs what is missing from Debian's
# or Ubuntu's packages where it may; else it says the line to run.
set -euo pipefail
cd "$(dirname "$0")/.."

# at_least LEAST FOUND: whether a version is that or later.
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

packages=()
command -v cc >/dev/null || packages+=(build-essential)
command -v git >/dev/null || packages+=(git)
# The packer's solver is C++, and bindings are made of its header.
command -v c++ >/dev/null || packages+=(g++)
command -v cmake >/dev/null || packages+=(cmake)
[ -n "${LIBCLANG_PATH:-}" ] || compgen -G "/usr/lib/llvm-*/lib/libclang.so*" >/dev/null || packages+=(libclang-dev)
command -v python3 >/dev/null || packages+=(python3)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
# The tests make certificates.
case " $* " in
    *" test "*) command -v openssl >/dev/null || packages+=(openssl) ;;
esac

if [ ${#packages[@]} -gt 0 ]; then
    install="apt-get update && apt-get install -y --no-install-recommends ${packages[*]}"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing ${packages[*]}"
        sh -c "$install"
    else
        echo "missing: ${packages[*]}" >&2
        echo "hint: sudo sh -c '$install'" >&2
        exit 1
    fi
fi

# Some tests cut networks, let clocks jump, and start services and stores; where that cannot be had they are skipped,
# which is said.
beside=()
case " $* " in
    *" test "*)
        command -v ip >/dev/null || beside+=(iproute2)
        compgen -G "/usr/lib/*/faketime/libfaketimeMT.so.1" >/dev/null || beside+=(libfaketime)
        command -v dockerd >/dev/null || beside+=(docker.io)
        command -v iptables >/dev/null || beside+=(iptables)
        command -v curl >/dev/null || beside+=(curl)
        # What makes the image of examples/shop.
        command -v debootstrap >/dev/null || beside+=(debootstrap)
        # What builds the S3 server, and what gets and runs Elasticsearch.
        command -v go >/dev/null || beside+=(golang)
        command -v mvn >/dev/null || beside+=(maven)
        command -v java >/dev/null || beside+=(default-jre-headless)
        ;;
esac
if [ ${#beside[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${beside[*]}"
    { apt-get update && apt-get install -y --no-install-recommends "${beside[@]}"; } ||
        echo "not installed: ${beside[*]}" >&2
fi

# The pytest adapter takes Python 3.8, the demo's networkx 3.10; what the tests install takes 3.11.
wanted=3.8
case " $* " in
    *" test "*) wanted=3.11 ;;
    *" demo "*) wanted=3.10 ;;
esac
found=$(python3 --version | cut -d' ' -f2)
if ! at_least "$wanted" "$found"; then
    echo "python3 is $found, $wanted or later is needed" >&2
    packaged=$(apt-cache search --names-only '^python3\.[0-9]+-venv$' 2>/dev/null) || true
    newest=$(cut -d- -f1 <<<"$packaged" | sort -V | tail -n 1)
    if at_least "python$wanted" "$newest"; then
        echo "hint: sudo apt-get install -y $newest-venv && $newest -m venv ~/$newest &&" \
            "export PATH=~/$newest/bin:\$PATH" >&2
    else
        echo "hint: this system has no package of one; put it first on PATH as python3" >&2
    fi
    exit 1
fi

wanted=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
found=$(cargo --version 2>/dev/null | cut -d' ' -f2) || true
if ! at_least "$wanted" "$found"; then
    echo "Rust is ${found:-missing}, $wanted is needed" >&2
    if command -v rustup >/dev/null; then
        echo "hint: rustup toolchain install $wanted" >&2
    elif apt-cache show rustup >/dev/null 2>&1; then
        echo "hint: sudo apt-get install -y rustup && rustup toolchain install $wanted" >&2
    else
        echo "hint: sudo apt-get install -y curl && curl -sSf https://sh.rustup.rs |" \
            "sh -s -- -y --default-toolchain none && . ~/.cargo/env" >&2
    fi
    exit 1
fi
