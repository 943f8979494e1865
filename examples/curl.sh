#!/usr/bin/env bash
# The main job over plain HTTP, and the oldest published calls.
#
#   examples/curl.sh FILE QUESTION
#
# TOKEN is who is asking; API and RUNTIME are where the platform listens.
set -euo pipefail

API=${API:-http://127.0.0.1:8001}
RUNTIME=${RUNTIME:-http://127.0.0.1:8000}
TOKEN=${TOKEN:-$(symphainy token --tenant acme --user ada)}
FILE=$1
QUESTION=$2

# `field NAME...` reads one value out of the JSON on standard input.
field() { python3 -c 'import functools, json, sys; print(functools.reduce(lambda d, k: d[k], sys.argv[1:], json.load(sys.stdin)))' "$@"; }
json() { python3 -c 'import json, sys; print(json.dumps(sys.argv[1]))' "$1"; }
post() {
    curl -fsS "$API$1" -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -H 'Prefer: wait=30' -d "$2"
}
run() { post /api/intent/submit "{\"intent_type\": \"$1\", \"session_id\": \"$SESSION\", \"parameters\": $2}"; }

# --- the main job ---------------------------------------------------------------------------------------------

SESSION=$(post /api/session/create '{"context": {"surface": "curl"}}' | field session_id)

INGESTED=$(curl -fsS "$API/v1/content/upload" -H "Authorization: Bearer $TOKEN" -H 'Prefer: wait=30' \
    -F "session_id=$SESSION" -F "file=@$FILE")
FILE_ID=$(field result file_id <<<"$INGESTED")
CONTRACT=$(field result boundary_contract_id <<<"$INGESTED")

run save_materialization "{\"file_id\": \"$FILE_ID\", \"boundary_contract_id\": \"$CONTRACT\"}" | field status
PARSED=$(run parse_content "{\"file_id\": \"$FILE_ID\"}" | field result parsed_file_id)
run create_deterministic_embeddings "{\"parsed_file_id\": \"$PARSED\"}" | field result schema_fingerprint
run query_data "{\"query\": $(json "$QUESTION")}" | field result passages

# --- what came out, and what happened ---------------------------------------------------------------------------

curl -fsS "$API/api/artifacts/$PARSED/content" -H "Authorization: Bearer $TOKEN" | head -n 3
curl -fsS "$API/api/artifacts/$FILE_ID/lineage?direction=down" -H "Authorization: Bearer $TOKEN" | field edges
EXECUTION=$(field execution_id <<<"$INGESTED")
curl -fsSN "$API/api/execution/$EXECUTION/stream" -H "Authorization: Bearer $TOKEN"

# --- the oldest paths, on the Runtime of the development profile ------------------------------------------------

OLD=$(curl -fsS "$RUNTIME/session/create" -H 'Content-Type: application/json' -d '{"tenant_id": "acme", "user_id": "ada"}' | field session_id)
curl -fsS "$RUNTIME/session/$OLD?tenant_id=acme" | field lifecycle_state

echo "a test" >/tmp/test.txt
OLDER=$(curl -fsS "$RUNTIME/intent/submit" -H 'Content-Type: application/json' -d "{
    \"intent_type\": \"content.upload\", \"tenant_id\": \"acme\", \"session_id\": \"$OLD\", \"realm\": \"content\",
    \"payload\": {\"file_path\": \"/tmp/test.txt\"}
}" | field execution_id)
curl -fsS "$RUNTIME/execution/$OLDER/status?tenant_id=acme" | field execution_id
