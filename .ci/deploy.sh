#!/usr/bin/env bash
# Checks the files in examples/deploy: the units with systemd's own tool, the manifests against Kubernetes' schemas.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --example http
binary=$(realpath "${CARGO_TARGET_DIR:-target}/debug/examples/http")
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

# The program is where it was built, all else as it is. A systemd that does not know notify-reload says so of that line, and
# has the drop-in for it; one that does not know the steps of restarts says so of these two lines; any other word is a mistake.
version=$(systemd-analyze --version | awk 'NR == 1 { print $2 }')
units=$directory/units
mkdir -p "$units/http.service.d"
sed -e "s|/usr/local/bin/http|$binary|" examples/deploy/http.service >"$units/http.service"
cp examples/deploy/http.socket "$units/http.socket"
if [ "$version" -lt 253 ]; then
  cp examples/deploy/http.service.d/systemd-before-253.conf "$units/http.service.d/"
fi

# verify FILE...: systemd has nothing to say of these units but that.
verify() {
  local said
  # What it does not know it only mentions.
  said=$(SYSTEMD_LOG_COLOR=0 systemd-analyze verify --man=no "$@" 2>&1) || true
  said=$(printf '%s' "$said" | grep -v 'Failed to parse service type, ignoring: notify-reload$' || true)
  if [ "$version" -lt 254 ]; then
    said=$(printf '%s' "$said" | grep -Ev "Unknown key( name)? '(RestartSteps|RestartMaxDelaySec)' in section" || true)
  fi
  [ -z "$said" ] || { printf '%s\n' "$said"; exit 1; }
}
verify "$units/http.service" "$units/http.socket"
echo "http.service, http.socket: systemd $version finds nothing to say"
# A limit of starts would make an outage for good of a hundred requests that crash workers.
grep -qx 'StartLimitIntervalSec=0' examples/deploy/http.service

# exposure FILE: what systemd finds that the service could do, from 0 (nothing) to 100.
exposure() {
  systemd-analyze security --offline=true --no-pager "$1" 2>/dev/null | awk '/Overall exposure level/ { print $(NF-2) * 10 }'
}
before=$(exposure "$units/http.service")
cp examples/deploy/http.service.d/hardened.conf "$units/http.service.d/"
verify "$units/http.service" "$units/http.socket"
after=$(exposure "$units/http.service")
echo "http.service: exposed by $before of 100, with hardened.conf by $after"
if [ "$after" -gt 20 ]; then echo "hardened.conf leaves more than 20 of 100"; exit 1; fi

# The service as http.socket starts it, at another address.
address=127.0.0.1:$((20000 + $$ % 10000))
systemd-socket-activate -l "$address" -E PREFORK_LISTEN=0.0.0.0:8080 "$binary" 2>"$directory/activated" &
activated=$!
trap 'kill "$activated" 2>/dev/null || true; rm -rf "$directory"' EXIT
curl --silent --show-error --fail --retry 20 --retry-delay 1 --retry-connrefused --max-time 30 "http://$address/"
kill "$activated"
wait "$activated" || { cat "$directory/activated"; exit 1; }
grep -q "listening on $address, inherited" "$directory/activated" || { cat "$directory/activated"; exit 1; }
trap 'rm -rf "$directory"' EXIT

/usr/bin/python3 - examples/deploy/kubernetes.yaml <<'PYTHON'
import sys, yaml
manifests = [manifest for manifest in yaml.safe_load_all(open(sys.argv[1])) if manifest]
for manifest in manifests:
    missing = [key for key in ("apiVersion", "kind", "metadata", "spec") if not manifest.get(key)]
    assert not missing, f"{manifest.get('kind')} lacks {missing}"

def seconds(name):
    values = [variable["value"] for variable in container["env"] if variable["name"] == name]
    assert len(values) == 1 and values[0].endswith("s"), f"{name}: {values}"
    return int(values[0][:-1])

pod = next(manifest for manifest in manifests if manifest["kind"] == "Deployment")["spec"]["template"]["spec"]
container = pod["containers"][0]
least = seconds("PREFORK_DRAIN_DELAY") + seconds("PREFORK_GRACEFUL_TIMEOUT") + 5
assert pod["terminationGracePeriodSeconds"] >= least, f"the grace period is shorter than {least} s"
assert "lifecycle" not in container, "drain_delay takes the place of preStop"
print("kubernetes.yaml:", ", ".join(manifest["kind"] for manifest in manifests))
PYTHON
# Against the schemas, where the tool that has them can be had.
if /usr/bin/python3 -m venv "$directory/venv" >"$directory/log" 2>&1 &&
  timeout 120 "$directory/venv/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 20 \
    kubernetes-validate==1.37.0 >>"$directory/log" 2>&1; then
  "$directory/venv/bin/kubernetes-validate" --strict examples/deploy/kubernetes.yaml
else
  echo 'kubernetes.yaml: parsed only, as kubernetes-validate cannot be installed here'
fi
