-- The log and what it folds to. Every key starts with tenant_id.

CREATE TABLE events (
    tenant_id    TEXT NOT NULL,
    position     INTEGER NOT NULL,
    seq          INTEGER,
    event_type   TEXT NOT NULL,
    session_id   TEXT,
    execution_id TEXT,
    header       BLOB NOT NULL,
    salt         BLOB,
    payload      BLOB,
    commitment   BLOB NOT NULL,
    chain        BLOB NOT NULL,
    PRIMARY KEY (tenant_id, position)
) WITHOUT ROWID;
-- The history of one execution: its steps on resume, its stream.
CREATE UNIQUE INDEX events_of_execution ON events (tenant_id, execution_id, seq) WHERE execution_id IS NOT NULL;
-- What happened to a session itself; what its executions did is found through them.
CREATE INDEX events_of_session ON events (tenant_id, session_id, position)
    WHERE execution_id IS NULL AND session_id IS NOT NULL;

CREATE TABLE heads (
    tenant_id TEXT PRIMARY KEY,
    position  INTEGER NOT NULL,
    chain     BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE sessions (
    tenant_id  TEXT NOT NULL,
    session_id TEXT NOT NULL,
    doc        BLOB NOT NULL,
    PRIMARY KEY (tenant_id, session_id)
) WITHOUT ROWID;

CREATE TABLE executions (
    tenant_id    TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    ordinal      INTEGER NOT NULL,
    session_id   TEXT NOT NULL,
    intent_type  TEXT NOT NULL,
    status       TEXT NOT NULL,
    doc          BLOB NOT NULL,
    PRIMARY KEY (tenant_id, execution_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX executions_by_age ON executions (tenant_id, ordinal);
CREATE INDEX executions_of_session ON executions (tenant_id, session_id, ordinal);

CREATE TABLE artifacts (
    tenant_id       TEXT NOT NULL,
    artifact_id     TEXT NOT NULL,
    ordinal         INTEGER NOT NULL,
    artifact_type   TEXT NOT NULL,
    lifecycle_state TEXT NOT NULL,
    session_id      TEXT,
    doc             BLOB NOT NULL,
    PRIMARY KEY (tenant_id, artifact_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX artifacts_by_age ON artifacts (tenant_id, ordinal);
CREATE INDEX artifacts_by_type ON artifacts (tenant_id, artifact_type, ordinal);
CREATE INDEX artifacts_of_session ON artifacts (tenant_id, session_id, ordinal);

CREATE TABLE artifact_parents (
    tenant_id TEXT NOT NULL,
    parent_id TEXT NOT NULL,
    ordinal   INTEGER NOT NULL,
    child_id  TEXT NOT NULL,
    PRIMARY KEY (tenant_id, parent_id, ordinal, child_id)
) WITHOUT ROWID;

CREATE TABLE pendings (
    tenant_id          TEXT NOT NULL,
    pending_id         TEXT NOT NULL,
    ordinal            INTEGER NOT NULL,
    session_id         TEXT NOT NULL,
    intent_type        TEXT NOT NULL,
    target_artifact_id TEXT NOT NULL,
    status             TEXT NOT NULL,
    doc                BLOB NOT NULL,
    PRIMARY KEY (tenant_id, pending_id)
) WITHOUT ROWID;
CREATE INDEX pendings_by_age ON pendings (tenant_id, ordinal);
CREATE INDEX pendings_of_target ON pendings (tenant_id, target_artifact_id, ordinal);

CREATE TABLE sagas (
    tenant_id TEXT NOT NULL,
    saga_id   TEXT NOT NULL,
    doc       BLOB NOT NULL,
    PRIMARY KEY (tenant_id, saga_id)
) WITHOUT ROWID;

-- Idempotency keys. They belong to tenant and user.
CREATE TABLE keys (
    tenant_id     TEXT NOT NULL,
    user_id       TEXT NOT NULL,
    key           TEXT NOT NULL,
    fingerprint   TEXT NOT NULL,
    execution_id  TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id, key)
) WITHOUT ROWID;
CREATE INDEX keys_by_expiry ON keys (expires_at_ms);

-- Executions that are not finished: the queue and the leases. The fence only ever grows.
CREATE TABLE work (
    tenant_id      TEXT NOT NULL,
    execution_id   TEXT NOT NULL,
    priority       INTEGER NOT NULL,
    ready_at_ms    INTEGER NOT NULL,
    ordinal        INTEGER NOT NULL,
    concurrency_key TEXT,
    owner          TEXT,
    fence          INTEGER NOT NULL,
    lease_until_ms INTEGER,
    PRIMARY KEY (tenant_id, execution_id)
) WITHOUT ROWID;
CREATE INDEX work_due ON work (tenant_id, priority DESC, ready_at_ms, ordinal) WHERE owner IS NULL;
CREATE INDEX work_keys ON work (tenant_id, concurrency_key) WHERE concurrency_key IS NOT NULL;
CREATE INDEX work_next ON work (ready_at_ms) WHERE owner IS NULL;
CREATE INDEX work_leases ON work (lease_until_ms, tenant_id) WHERE owner IS NOT NULL;

-- One row that a health probe writes and reads back.
CREATE TABLE probes (
    tenant_id TEXT PRIMARY KEY,
    probed_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
